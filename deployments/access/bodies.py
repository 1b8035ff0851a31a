"""How much a request may send, and how slowly: a body that never ends holds nothing for long."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from deployments.access.door import Refusal

GRACE_SECONDS = 20.0
LEAST_BYTES_PER_SECOND = 4096


class Body:
    """The body of one request, read for the app. `refusal` says why it was broken off."""

    def __init__(self, scope: Scope, receive: Receive, limit_bytes: int, grace_seconds: float = GRACE_SECONDS) -> None:
        self._limit = limit_bytes
        self._announced = Headers(scope=scope).get("content-length", "0")
        self._receive = receive
        self._grace_seconds = grace_seconds
        self._began: float | None = None
        self._taken = 0
        self._whole = False
        self.refusal: Refusal | None = None

    def announced_too_large(self) -> Refusal | None:
        """The refusal of a body whose own header says that it is too large."""
        length = self._announced
        known = length.isascii() and length.isdigit()
        return self._too_large() if known and int(length[:20]) > self._limit else None

    async def receive(self) -> Message:
        """The next part; a disconnect once the body is too large or too slow."""
        if self._whole:
            return await self._receive()
        now = time.monotonic()
        if self._began is None:
            self._began = now
        patience = self._grace_seconds + self._taken / LEAST_BYTES_PER_SECOND - (now - self._began)
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, patience))
        except TimeoutError:
            self.refusal = Refusal(408, "The request came too slowly.", remedy="Send it again; nothing was changed.")
            return {"type": "http.disconnect"}
        self._taken += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._taken > self._limit:
            self.refusal = self._too_large()
            return {"type": "http.disconnect"}
        return message

    def _too_large(self) -> Refusal:
        return Refusal(413, "This request is too large.", remedy=f"Up to {self._limit // 2**20} MiB are taken at once.")
