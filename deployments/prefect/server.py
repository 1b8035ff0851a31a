"""The workspace's Prefect server: Prefect's own, asking its clients back sooner: `python -m deployments.prefect.server HOST PORT`,
or with `--no-services` where the background services are a process of their own.

SQLite refuses a transaction that has read before another one wrote. The server then answers 503, and its clients come back after two
seconds or more, although the database is free again within milliseconds. A `Retry-After` header on such an answer brings them back at once.
A query that SQLite refused never holds up the others (`database.py`).
Before all of it stands the guard that keeps other sites' pages out (`guard.py`).
"""

import gc
import sys
from collections.abc import MutableMapping
from typing import Any

import uvicorn

from deployments.access.door import check_binding
from deployments.prefect.guard import App, Message, PrefectGuard, Receive, Send
from deployments.prefect.project import NO_SERVICES
from flenwheel_core.base.settings import Settings

RETRY_AFTER_SECONDS = "0.15"
BUSY = 503


class RetrySoon:
    """Adds `Retry-After` to every answer that says that the server is busy."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == BUSY:
                message = {**message, "headers": [*message["headers"], (b"retry-after", RETRY_AFTER_SECONDS.encode())]}
            await send(message)

        await self._app(scope, receive, answer)


def main(host: str, port: int, *, services: bool = True) -> None:
    """Serves API, interface and background services until it is told to stop, as `prefect server start` does.

    Raises UserError if others could reach it without a token.
    """
    settings = Settings()
    check_binding(settings.model_copy(update={"host": host}))

    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    from deployments.prefect.database import LockFirst, keep_answering

    keep_answering()
    app = create_app(final=True, webserver_only=not services)
    # What was loaded stays: collecting garbage among it would stop all answers for a fifth of a second, each time.
    gc.freeze()
    api = get_current_settings().server.api
    uvicorn.run(
        PrefectGuard(RetrySoon(LockFirst(app)), settings),
        host=host,
        port=port,
        timeout_keep_alive=api.keepalive_timeout,
        ws_ping_interval=api.websocket_ping_interval,
        ws_ping_timeout=api.websocket_ping_timeout,
        log_level="warning",
        proxy_headers=False,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), services=NO_SERVICES not in sys.argv[3:])
