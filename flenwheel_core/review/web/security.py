"""Who may talk to the studio: host check, token, CSRF, request size, and the headers of every answer.

* Bound to loopback, only requests for a loopback host name are served: a foreign page cannot reach it through DNS rebinding.
* With a token set (mandatory beyond loopback), every request needs it: as a bearer token, or as the cookie that the login page gives.
* Whatever changes something needs the CSRF token in a header, which another site can neither read nor send; bearer requests do not.
"""

import hashlib
import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flenwheel_core.errors import UserError
from flenwheel_core.settings import Settings

CSRF_HEADER = "x-csrf-token"
COOKIE = "flenwheel_session"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = ("/login", "/static/")
MAXIMUM_JSON_BYTES = 4 * 2**20
MAXIMUM_UPLOAD_BYTES = 80 * 2**20

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
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def check_binding(settings: Settings) -> None:
    """Raises UserError if the studio would listen beyond loopback without a token."""
    if not is_loopback(settings.host) and settings.token is None:
        raise UserError(
            f"The studio will not listen on {settings.host} without a token.",
            why="everybody in that network could decide about your pictures.",
            remedy="Set FLENWHEEL_TOKEN to a long secret, or leave FLENWHEEL_HOST at 127.0.0.1.",
        )


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def sign(secret: bytes, text: str) -> str:
    """A keyed digest of a text."""
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def csrf_token(secret: bytes) -> str:
    """The token that the studio's own pages send with every change."""
    return sign(secret, "csrf")


def session_cookie(secret: bytes, token: str) -> str:
    """What the browser keeps after a login: proves that the token was known, without holding it."""
    return sign(secret, f"session {token}")


class Guard:
    """The middleware that enforces all of this."""

    def __init__(self, app: ASGIApp, settings: Settings, secret: bytes) -> None:
        self._app = app
        self._secret = secret
        self._token = settings.token.get_secret_value() if settings.token is not None else None
        self._loopback_only = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        limit = MAXIMUM_UPLOAD_BYTES if _is_upload(scope) else MAXIMUM_JSON_BYTES
        await self._app(scope, _limited(receive, limit), send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = urlsplit(f"//{headers.get('host', '')}")
        if self._loopback_only and not is_loopback(_hostname(host.netloc)):
            return _problem(403, "This studio answers on this machine only.", "Open it as http://127.0.0.1:PORT.")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        by_token = self._token is not None and hmac.compare_digest(bearer.encode(), self._token.encode())
        path = scope["path"]
        if (
            self._token is not None
            and not by_token
            and not path.startswith(OPEN_PATHS)
            and not self._has_cookie(headers)
        ):
            if path.startswith("/api/") or scope["method"] not in SAFE_METHODS:
                return _problem(
                    401, "A token is needed.", "Send it as `Authorization: Bearer TOKEN`, or log in at /login."
                )
            return RedirectResponse("/login", status_code=303)
        if scope["method"] in SAFE_METHODS or by_token:
            return _too_large(scope, headers)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return _problem(403, "This request comes from another site.", "Use the studio's own pages.")
        given = headers.get(CSRF_HEADER, "").encode()
        if path != "/login" and not hmac.compare_digest(given, csrf_token(self._secret).encode()):
            return _problem(
                403, "The CSRF token is missing or wrong.", "Reload the page; scripts read it from /api/v1/session."
            )
        return _too_large(scope, headers)

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        given = cookies[COOKIE].value if COOKIE in cookies else ""
        return hmac.compare_digest(given.encode(), session_cookie(self._secret, self._token or "").encode())


def _hostname(netloc: str) -> str:
    """The host name of a Host header, without its port."""
    if netloc.startswith("["):
        return netloc[1 : netloc.find("]")]
    return netloc.rpartition(":")[0] or netloc


def _is_upload(scope: Scope) -> bool:
    return Headers(scope=scope).get("content-type", "").startswith("multipart/form-data")


def _too_large(scope: Scope, headers: Headers) -> Response | None:
    length = headers.get("content-length", "0")
    limit = MAXIMUM_UPLOAD_BYTES if _is_upload(scope) else MAXIMUM_JSON_BYTES
    if length.isascii() and length.isdigit() and int(length[:20]) > limit:
        return _problem(413, "This request is too large.", f"Up to {limit // 2**20} MiB are taken at once.")
    return None


def _limited(receive: Receive, limit: int) -> Receive:
    """Ends a body that goes on beyond the limit, whatever its header said."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            return {"type": "http.disconnect"}
        return message

    return limited


def _problem(status: int, what: str, remedy: str) -> JSONResponse:
    return JSONResponse({"what": what, "why": "", "remedy": remedy}, status_code=status)
