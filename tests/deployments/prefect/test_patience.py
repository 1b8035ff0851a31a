"""A run that begins while the server restarts waits for it, as one that was connected before does."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import anyio
import httpx
import pytest
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from deployments.prefect.patience import expect_a_server
from tests.kit.browser import free_port


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def late_server(monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server that begins to listen after a second, and answers once."""
    for client in (PrefectHttpxAsyncClient, PrefectHttpxSyncClient):
        monkeypatch.setattr(client, "__init__", client.__init__)  # put back at the end
    port = free_port()

    def serve() -> None:
        time.sleep(1)
        with HTTPServer(("127.0.0.1", port), Answering) as server:
            server.handle_request()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{port}"


async def asked(url: str) -> int:
    async with PrefectHttpxAsyncClient(base_url=url, enable_csrf_support=False) as client:
        return (await client.get("/")).status_code


def test_clients_wait_for_a_server_that_is_not_there_yet(late_server: str) -> None:
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 4}):
        with pytest.raises(httpx.ConnectError):
            anyio.run(asked, late_server)  # as the client is by itself
        expect_a_server()
        assert anyio.run(asked, late_server) == 200


def test_so_do_the_clients_of_code_that_is_not_async(late_server: str) -> None:
    expect_a_server()
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 4}),
        PrefectHttpxSyncClient(base_url=late_server, enable_csrf_support=False) as client,
    ):
        assert client.get("/").status_code == 200
