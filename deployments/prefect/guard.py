"""What stands before the workspace's Prefect server: no other site's page may use it, and tokens cannot be guessed at full speed.

Prefect itself answers every page of every site, and whoever may start a run may run any command. Its own interface, and programs (workers,
flows, commands: they send no `Origin`), pass as before; the token, if one is set, is still Prefect's to check.
"""

import asyncio
import hmac
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from deployments.access.bodies import GRACE_SECONDS, Body
from deployments.access.brake import Brake
from deployments.access.door import Caller, Door, Refusal, is_loopback
from deployments.prefect.api import basic
from flenwheel_core.base.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAXIMUM_BYTES = 256 * 2**20
"""Far more than any request of Prefect's own programs."""
POLICY_VIOLATION = 1008
OWN_DELAY_SECONDS = 0.5
HEADERS = ((b"x-frame-options", b"SAMEORIGIN"), (b"content-security-policy", b"frame-ancestors 'self'"))
"""No other site may show the interface in a frame and lend its buttons."""


class PrefectGuard:
    """The studio's door, before Prefect: HTTP and WebSockets."""

    def __init__(self, app: App, settings: Settings, grace_seconds: float = GRACE_SECONDS) -> None:
        self._app = app
        self._grace_seconds = grace_seconds
        self._door = Door(settings, settings.prefect_url, "the Prefect server")
        self._brake = Brake()
        self._password = None if settings.token is None else basic(settings.token.get_secret_value())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        caller = self._door.caller(scope)
        refusal = self._door.refusal(scope, caller) or await self._guess(scope, caller)
        if refusal is None and scope["type"] == "http":
            await self._served(scope, receive, self._watched(caller, send))
        elif refusal is None:
            await self._app(scope, receive, self._watched(caller, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": refusal.what})
        else:
            await _answer(refusal)(scope, receive, send)

    async def _served(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Prefect's answer, unless the request's body is too large, or comes so slowly that it may never end."""
        body = Body(scope, receive, MAXIMUM_BYTES, self._grace_seconds)

        async def answer(message: Message) -> None:
            # What Prefect says of a body that was broken off is beside the point.
            if body.refusal is None:
                await send(message)
            elif message["type"] == "http.response.start":
                await _answer(body.refusal, close=True)(scope, receive, send)

        large = body.announced_too_large()
        if large is not None:
            await _answer(large)(scope, receive, send)
        else:
            await self._app(scope, body.receive, answer)

    async def _guess(self, scope: MutableMapping[str, Any], caller: Caller) -> Refusal | None:
        """A client that sent wrong tokens is not listened to for a while."""
        given = Headers(scope=scope).get("authorization", "")
        if self._password is None or (scope["type"] == "http" and not given):
            return None
        right = hmac.compare_digest(given.encode(), self._password.encode())
        if _is_own(caller):
            if scope["type"] == "http" and not right:
                # Worker and flows of this machine come from here too: they must not be locked out by somebody else's guesses.
                await asyncio.sleep(OWN_DELAY_SECONDS)
            return None
        wait = math.ceil(self._brake.wait_seconds(caller.client))
        if wait:
            return Refusal(429, "Too many wrong tokens.", "somebody may be guessing", f"Try again in {wait} s.", wait)
        if scope["type"] == "http":
            (self._brake.right if right else self._brake.wrong)(caller.client)
        return None

    def _watched(self, caller: Caller, send: Send) -> Send:
        """Adds our headers. A WebSocket's token comes in a message: by its end we see that it was wrong."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *HEADERS]}
            if message["type"] == "websocket.close" and message.get("code") == POLICY_VIOLATION:
                if _is_own(caller):
                    await asyncio.sleep(OWN_DELAY_SECONDS)
                else:
                    self._brake.wrong(caller.client)
            await send(message)

        return answer


def _answer(refusal: Refusal, *, close: bool = False) -> JSONResponse:
    """A refusal in the form of Prefect's own errors."""
    why = f"({refusal.why})" if refusal.why else ""
    content = {"detail": " ".join(filter(None, (refusal.what, why, refusal.remedy)))}
    headers = {"connection": "close"} if close else {}
    if refusal.retry_seconds:
        headers["retry-after"] = str(refusal.retry_seconds)
    return JSONResponse(content, status_code=refusal.status, headers=headers)


def _is_own(caller: Caller) -> bool:
    """True for programs of this machine that no proxy speaks for."""
    return caller.direct and is_loopback(caller.client)
