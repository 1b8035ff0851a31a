"""Who may talk to the studio: token, logins, CSRF, request size and pace, and the headers of every answer.

* `door.py` looks at where a request comes from: this machine or the studio's own address, never another site's page.
* With a token set (mandatory beyond loopback), every request needs it: as a bearer token, or as the cookie that the login page gives.
* Whatever changes something needs the CSRF token in a header, which another site can neither read nor send; bearer requests do not.
* Whoever sends wrong tokens is slowed down (`brake.py`).
"""

import hmac
import math
from urllib.parse import urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.access.bodies import GRACE_SECONDS, Body
from deployments.access.brake import Brake
from deployments.access.door import SAFE_METHODS, Door, Refusal
from deployments.studio.sessions import Sessions, sign
from flenwheel_core.base.settings import Settings

MAXIMUM_JSON_BYTES = 4 * 2**20
MAXIMUM_UPLOAD_BYTES = 80 * 2**20  # the largest picture with the largest mask (drop_in.py), and the form around them
ORDERS = "/api/v1/train-lora"
"""Its JSON holds pictures."""
CSRF_HEADER = "x-csrf-token"
OPEN_PATHS = ("/login", "/static/", "/healthz")
FORM_PATHS = ("/login", "/logout")
"""Plain forms, which can send no header: their origin and the cookie's own rule (SameSite) guard them."""

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    # Not no-referrer: browsers then send plain forms, the login among them, with `Origin: null`.
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def csrf_token(secret: bytes) -> str:
    """The token that the studio's own pages send with every change."""
    return sign(secret, "csrf")


class Logins:
    """Who knows the token: bearer requests, and browsers that logged in."""

    def __init__(self, settings: Settings, secret: bytes) -> None:
        token = settings.token.get_secret_value() if settings.token is not None else ""
        self.needed = bool(token)
        self._token = token.encode()
        self._brake = Brake()
        self.sessions = Sessions(settings.root / "studio-sessions.json", secret, token)
        # Cookies know no ports: two studios of one machine must not overwrite each other's.
        self.cookie = f"flenwheel_session_{sign(secret, 'cookie')[:8]}"

    def session_of(self, headers: Headers) -> str:
        """The session id that a browser sends; empty if it sends none."""
        return cookie_parser(headers.get("cookie", "")).get(self.cookie, "")

    def check(self, token: str, client: str) -> Refusal | None:
        """None for the right token. A client that guesses is not listened to for a while."""
        wait = self._brake.wait_seconds(client)
        if wait > 0:
            seconds = math.ceil(wait)
            return Refusal(
                429, "Too many wrong tokens.", "somebody may be guessing.", f"Try again in {seconds} s.", seconds
            )
        if self.needed and hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            self._brake.right(client)
            return None
        self._brake.wrong(client)
        return Refusal(401, "That is not the token.", remedy="It is what FLENWHEEL_TOKEN was set to.")


class Guard:
    """The middleware that enforces all of this."""

    def __init__(
        self, app: ASGIApp, settings: Settings, secret: bytes, logins: Logins, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self._app = app
        self._grace_seconds = grace_seconds
        self._secret = secret
        self._logins = logins
        self._door = Door(settings, settings.studio_url, "the studio")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        upload = Headers(scope=scope).get("content-type", "").startswith("multipart/form-data")
        upload |= scope["path"] == ORDERS
        limit = MAXIMUM_UPLOAD_BYTES if upload else MAXIMUM_JSON_BYTES
        body = Body(scope, receive, limit, self._grace_seconds)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        async def answer(message: Message) -> None:
            # What the app says of a body that was broken off is beside the point.
            if body.refusal is None:
                await send_with_headers(message)
            elif message["type"] == "http.response.start":
                await _answer(body.refusal, close=True)(scope, receive, send_with_headers)

        refusal = self._refusal(scope)
        if refusal is None and (large := body.announced_too_large()) is not None:
            refusal = _answer(large)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, body.receive, answer)

    def _refusal(self, scope: Scope) -> Response | None:
        caller = self._door.caller(scope)
        foreign = self._door.refusal(scope, caller)
        if foreign is not None:
            return _answer(foreign)
        scope.setdefault("state", {})["caller"] = caller
        headers = Headers(scope=scope)
        by_token = False
        if self._logins.needed and not scope["path"].startswith(OPEN_PATHS):
            if (bearer := _bearer(headers)) is not None:
                unknown = self._logins.check(bearer, caller.client)
                by_token = unknown is None
            else:
                known = self._logins.sessions.is_open(self._logins.session_of(headers))
                unknown = None if known else NO_TOKEN
            if unknown is not None:
                return _stranger(scope, unknown)
        if scope["method"] in SAFE_METHODS or by_token or scope["path"] in FORM_PATHS:
            return None
        given = headers.get(CSRF_HEADER, "").encode()
        if not hmac.compare_digest(given, csrf_token(self._secret).encode()):
            return _answer(
                Refusal(
                    403,
                    "The CSRF token is missing or wrong.",
                    remedy="Reload the page; scripts read it from /api/v1/session.",
                )
            )
        return None


NO_TOKEN = Refusal(401, "A token is needed.", remedy="Send it as `Authorization: Bearer TOKEN`, or log in at /login.")


def _bearer(headers: Headers) -> str | None:
    """The token of a bearer request. Other schemes are somebody else's: a proxy's own password, for one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _stranger(scope: Scope, refusal: Refusal) -> Response:
    """Programs are told; people are shown the login page, and come back from there."""
    if scope["path"].startswith("/api/") or scope["method"] not in SAFE_METHODS:
        return _answer(refusal)
    if Headers(scope=scope).get("sec-fetch-site") in ("cross-site", "same-site"):
        # A link in a message: the browser keeps the session's cookie back (SameSite) until the studio's own page asks again.
        return HTMLResponse('<!doctype html><title>FLENwheel</title><meta http-equiv="refresh" content="0">')
    back = urlencode({"back": scope["path"]})
    return RedirectResponse("/login" if scope["path"] == "/" else f"/login?{back}", status_code=303)


def _answer(refusal: Refusal, *, close: bool = False) -> JSONResponse:
    content = {"what": refusal.what, "why": refusal.why, "remedy": refusal.remedy}
    headers = {"connection": "close"} if close else {}
    if refusal.retry_seconds:
        headers["retry-after"] = str(refusal.retry_seconds)
    return JSONResponse(content, status_code=refusal.status, headers=headers)
