"""Bodies that are too large, too slow, or never end."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from deployments.access.bodies import LEAST_BYTES_PER_SECOND
from deployments.studio.security import MAXIMUM_JSON_BYTES, Guard, Logins, csrf_token
from tests.kit.gate_world import settings_in

SECRET = b"the workspace's own"
GRACE_SECONDS = 0.2


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how many bytes came; with 400, as FastAPI does, if the client seems to have left."""
    try:
        answer = PlainTextResponse(str(len(await Request(scope, receive).body())))
    except Exception:
        answer = PlainTextResponse("left", status_code=400)
    await answer(scope, receive, send)


def ask(folder: Path, receive: Callable[[], Awaitable[Message]]) -> list[Message]:
    """What the studio's guard answers to a body that comes like this."""
    settings = settings_in(folder)
    guard = Guard(count, settings, SECRET, Logins(settings, SECRET), grace_seconds=GRACE_SECONDS)
    headers = [(b"host", b"127.0.0.1"), (b"x-csrf-token", csrf_token(SECRET).encode())]
    scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "client": ("127.0.0.1", 1)}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return sent


def part(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


def test_a_whole_body_arrives(tmp_path: Path) -> None:
    parts = iter([part(b"abc"), part(b"de", more=False)])

    async def receive() -> Message:
        return next(parts)

    start, body = ask(tmp_path, receive)
    assert (start["status"], body["body"]) == (200, b"5")


@pytest.mark.parametrize("pause_seconds", [60.0, 0.01])
def test_a_body_that_stops_or_drips_is_broken_off(tmp_path: Path, pause_seconds: float) -> None:
    async def receive() -> Message:
        await asyncio.sleep(pause_seconds)
        return part(b"x")

    start, body = ask(tmp_path, receive)
    assert start["status"] == 408 and (b"connection", b"close") in start["headers"]
    assert b"too slowly" in body["body"]


def test_a_slow_line_that_keeps_the_least_rate_is_served(tmp_path: Path) -> None:
    count = itertools.count()

    async def receive() -> Message:
        await asyncio.sleep(0.05)
        return part(b"x" * LEAST_BYTES_PER_SECOND, more=next(count) < 9)

    start, _ = ask(tmp_path, receive)
    assert start["status"] == 200


def test_a_body_beyond_the_limit_is_broken_off_whatever_its_header_said(tmp_path: Path) -> None:
    async def receive() -> Message:
        return part(b"x" * 2**20)

    start, body = ask(tmp_path, receive)
    assert start["status"] == 413 and f"Up to {MAXIMUM_JSON_BYTES // 2**20} MiB".encode() in body["body"]
