"""What stands before the workspace's Prefect server: no other site's page may use it, and tokens cannot be guessed at full speed.

Prefect itself answers every page of every site, and whoever may start a run may run any command. Its own interface, and programs (workers,
flows, commands: they send no `Origin`), pass as before; the token, if one is set, is still Prefect's to check.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from flenwheel_core.review.web.brake import Brake
from flenwheel_core.review.web.door import Caller, Door, Refusal, is_loopback
from flenwheel_core.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

POLICY_VIOLATION = 1008
WRONG_TOKEN = 401
OWN_DELAY_SECONDS = 0.5
HEADERS = ((b"x-frame-options", b"SAMEORIGIN"), (b"content-security-policy", b"frame-ancestors 'self'"))
"""No other site may show the interface in a frame and lend its buttons."""


class PrefectGuard:
    """The studio's door, before Prefect: HTTP and WebSockets."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._door = Door(settings, settings.prefect_url, "the Prefect server")
        self._brake = Brake()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        caller = self._door.caller(scope)
        refusal = self._door.refusal(scope, caller) or self._guesses(scope, caller)
        if refusal is None:
            await self._app(scope, receive, self._watched(scope, caller, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.what})
        else:
            content = {"detail": " ".join(filter(None, (refusal.what, f"({refusal.why})", refusal.remedy)))}
            headers = {"retry-after": str(refusal.retry_seconds)} if refusal.retry_seconds else {}
            await JSONResponse(content, status_code=refusal.status, headers=headers)(scope, receive, send)

    def _guesses(self, scope: MutableMapping[str, Any], caller: Caller) -> Refusal | None:
        """A client that sent wrong tokens is not listened to for a while."""
        if _is_own(caller) or (scope["type"] == "http" and "authorization" not in Headers(scope=scope)):
            return None
        wait = math.ceil(self._brake.wait_seconds(caller.client))
        return (
            Refusal(429, "Too many wrong tokens.", "somebody may be guessing", f"Try again in {wait} s.", wait)
            if wait
            else None
        )

    def _watched(self, scope: MutableMapping[str, Any], caller: Caller, send: Send) -> Send:
        """Counts wrong tokens by Prefect's own answers to them."""
        given = scope["type"] == "websocket" or "authorization" in Headers(scope=scope)

        async def answer(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                message = {**message, "headers": [*message["headers"], *HEADERS]}
            refused = message.get("status") == WRONG_TOKEN or message.get("code") == POLICY_VIOLATION
            if given and refused and _is_own(caller):
                # Worker and flows of this machine come from here too: they must not be locked out by somebody else's guesses.
                await asyncio.sleep(OWN_DELAY_SECONDS)
            elif given and refused:
                self._brake.wrong(caller.client)
            elif given and kind == "http.response.start" and not _is_own(caller):
                self._brake.right(caller.client)
            await send(message)

        return answer


def _is_own(caller: Caller) -> bool:
    """True for programs of this machine that no proxy speaks for."""
    return caller.direct and is_loopback(caller.client)
