"""What the workspace's server adds to Prefect's answers."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest

from deployments.prefect_server import RETRY_AFTER_SECONDS, Receive, RetrySoon, Send


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
