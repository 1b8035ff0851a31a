"""What stands around Prefect: quick answers of a busy server, and the guard. The real server is in test_prefect_guard.py."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from deployments.prefect.api import basic
from deployments.prefect.guard import PrefectGuard, Receive, Send
from deployments.prefect.server import RETRY_AFTER_SECONDS, RetrySoon
from flenwheel_core.base.settings import Settings


@pytest.mark.parametrize(("status", "asked_back"), [(503, RETRY_AFTER_SECONDS), (200, None), (423, None)])
def test_only_a_busy_server_asks_its_clients_back_soon(status: int, asked_back: str | None) -> None:
    async def prefect(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"said"})

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=RetrySoon(prefect))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.get("/api/health")

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.text) == (status, "said")
    assert answer.headers.get("retry-after") == asked_back
    assert answer.headers["content-type"] == "text/plain"


TOKEN = "a-secret-of-the-team"


async def echo(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Prefect as far as its door goes: /api/health needs no token, everything else does."""
    given = dict(scope["headers"]).get(b"authorization") == basic(TOKEN).encode()
    status = 200 if given or scope["path"] == "/api/health" else 401
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(guard: PrefectGuard, path: str, client: str, headers: dict[str, str]) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=guard, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4200") as found:
            return await found.get(path, headers=headers)

    return asyncio.run(send())


def test_an_open_page_between_two_guesses_clears_nothing(tmp_path: Path) -> None:
    guard = PrefectGuard(echo, Settings(workspace=tmp_path, host="0.0.0.0", token=SecretStr(TOKEN)))
    wrong, seen = {"authorization": basic("wrong")}, []
    for _ in range(10):
        seen.append(ask(guard, "/api/flow_runs/count", "203.0.113.9", wrong).status_code)
        ask(guard, "/api/health", "203.0.113.9", wrong)
    assert seen[:3] == [401] * 3 and set(seen[4:]) == {429}
    assert ask(guard, "/api/flow_runs/count", "203.0.113.9", {"authorization": basic(TOKEN)}).status_code == 429
    assert ask(guard, "/api/flow_runs/count", "198.51.100.7", {"authorization": basic(TOKEN)}).status_code == 200
    assert ask(guard, "/api/health", "203.0.113.9", {}).status_code == 200, "what needs no token is not held up"


def test_programs_of_this_machine_are_never_locked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.prefect.guard.OWN_DELAY_SECONDS", 0.01)
    guard = PrefectGuard(echo, Settings(workspace=tmp_path, token=SecretStr(TOKEN)))
    for _ in range(20):
        assert ask(guard, "/api/flow_runs/count", "127.0.0.1", {"authorization": basic("wrong")}).status_code == 401
    assert ask(guard, "/api/flow_runs/count", "127.0.0.1", {"authorization": basic(TOKEN)}).status_code == 200


def test_a_refusal_reads_as_prefects_own_errors_do(tmp_path: Path) -> None:
    guard = PrefectGuard(echo, Settings(workspace=tmp_path))
    answer = ask(guard, "/api/health", "127.0.0.1", {"origin": "http://evil.test"})
    assert answer.status_code == 403 and "http://evil.test" in answer.json()["detail"]
    answer = ask(guard, "/api/health", "127.0.0.1", {"host": "[::1"})
    assert answer.status_code == 400 and "()" not in answer.json()["detail"]


@pytest.mark.parametrize(
    ("pause_seconds", "ends", "status"), [(60.0, False, 408), (0.01, False, 408), (0.0, True, 200)]
)
def test_a_body_that_never_ends_is_broken_off(tmp_path: Path, pause_seconds: float, ends: bool, status: int) -> None:
    async def prefect(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            answer = PlainTextResponse(str(len(await Request(scope, receive).body())))
        except ClientDisconnect:
            answer = PlainTextResponse("left", status_code=400)
        await answer(scope, receive, send)

    async def drip() -> MutableMapping[str, Any]:
        await asyncio.sleep(pause_seconds)
        return {"type": "http.request", "body": b"x", "more_body": not ends}

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    guard = PrefectGuard(prefect, Settings(workspace=tmp_path), grace_seconds=0.2)
    scope = {"type": "http", "method": "POST", "path": "/api/logs/", "headers": [(b"host", b"127.0.0.1")]}
    asyncio.run(guard({**scope, "client": ("127.0.0.1", 1)}, drip, send))
    assert sent[0]["status"] == status, sent
