"""Where a request comes from: the host it asks for, the page that sent it, and the machine it was sent from.

A browser sends whatever a page tells it to, from this machine. Three headers give a foreign page away, and it can forge none of them:
`Host` (a name that points here by DNS rebinding is not ours), `Origin`, and `Sec-Fetch-Site`. Programs send neither of the last two.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from flenwheel_core.base.errors import UserError
from flenwheel_core.base.settings import Settings

LEAST_TOKEN_LENGTH = 16
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


class Host(NamedTuple):
    """A host name and its port; None stands for the usual port of http or https."""

    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


class Refusal(NamedTuple):
    """Why a request is not served."""

    status: int
    what: str
    why: str = ""
    remedy: str = ""
    retry_seconds: int = 0


@dataclass(frozen=True)
class Caller:
    """Who sends a request, as far as the connection and trusted proxies tell."""

    client: str
    """The address of the machine it comes from."""
    direct: bool
    """True if no proxy had a hand in it."""
    scheme: str
    host: Host | None
    """The host as the browser sees it; None if the header is no host name."""
    origin: str | None
    """The page that sent it, if a browser says so."""
    foreign: bool
    """True if the browser says that another site sent it, and that it is no visit of a page."""


def check_binding(settings: Settings) -> None:
    """Raises UserError if the studio could be reached from elsewhere without a token, or with one that can be guessed."""
    opens = _opens(settings)
    if not opens:
        return
    make = "Make one with `flenwheel token` and set it as FLENWHEEL_TOKEN"
    if settings.token is None:
        raise UserError(
            f"The studio will not be opened to others ({opens}) without a token.",
            why="everybody in that network could decide about your pictures.",
            remedy=f"{make}, or leave FLENWHEEL_HOST at 127.0.0.1.",
        )
    if len(settings.token.get_secret_value()) < LEAST_TOKEN_LENGTH:
        raise UserError(
            f"The token is too short to open the studio to others ({opens}).",
            why=f"short ones can be guessed; it needs at least {LEAST_TOKEN_LENGTH} characters.",
            remedy=f"{make}.",
        )


def _opens(settings: Settings) -> str:
    """The setting that lets others in; empty if none does."""
    if not is_loopback(settings.host):
        return f"it would listen on {settings.host}"
    for name, url in (("studio_url", settings.studio_url), ("prefect_url", settings.prefect_url)):
        if url is not None and not is_loopback(urlsplit(url).hostname or ""):
            return f"{name} is {url}"
    return f"trusted_proxies is {', '.join(settings.trusted_proxies)}" if settings.trusted_proxies else ""


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_host(text: str) -> Host | None:
    """A Host header in its parts; None if it is none."""
    match = _HOST.fullmatch(text)
    port = int(match["port"]) if match is not None and match["port"] else None
    if match is None or (port is not None and not 0 < port < 2**16):
        return None
    name = match["name"].lower()
    if name.startswith("["):
        try:
            name = str(ipaddress.IPv6Address(name[1:-1]))
        except ValueError:
            return None
    return Host(name, None if port in _PORTS.values() else port)


def parse_origin(text: str) -> Host | None:
    """The host of an Origin header or of a web address; None if it has none ("null", for one)."""
    scheme, separator, rest = text.partition("://")
    found = parse_host(rest.rstrip("/")) if separator and scheme in _PORTS else None
    # 80 and 443 are as good as no port, but only each under its own scheme.
    odd = (
        found is not None
        and found.port is None
        and rest.endswith(f":{_PORTS['https' if scheme == 'http' else 'http']}")
    )
    return None if odd else found


class Door:
    """What one service asks of every request, given the address it listens on and the address people open it at."""

    def __init__(self, settings: Settings, public_url: str | None, name: str) -> None:
        self._name = name
        self._loopback_only = is_loopback(settings.host)
        parts = urlsplit(public_url or "")
        self._public_origin = f"{parts.scheme}://{parts.netloc}" if public_url is not None else None
        self._public = parse_origin(self._public_origin) if self._public_origin is not None else None
        self._proxies = tuple(ipaddress.ip_network(proxy, strict=False) for proxy in settings.trusted_proxies)

    def caller(self, scope: Scope) -> Caller:
        """Who sends a request."""
        headers = Headers(scope=scope)
        client = str((scope.get("client") or ("", 0))[0])
        scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
        host, direct = headers.get("host", ""), "x-forwarded-for" not in headers
        if self._trusts(client):
            host = _last(headers, "x-forwarded-host") or host
            scheme = _last(headers, "x-forwarded-proto") or scheme
            client = self._client_of_proxy(headers, client)
        return Caller(client, direct, scheme, parse_host(host), headers.get("origin"), _is_foreign(scope, headers))

    def refusal(self, scope: Scope, caller: Caller) -> Refusal | None:
        """Why a request is refused whatever else it holds; None if it may go on."""
        given = Headers(scope=scope).get("host", "")
        if given and caller.host is None:
            return Refusal(400, "The Host header is no host name.", remedy=f"Open {self._name} by its address.")
        if caller.host is None or not self._answers_to(caller.host, scope):
            return Refusal(
                403,
                f"{self._name[0].upper()}{self._name[1:]} answers on this machine only.",
                f"it was asked for as {caller.host or 'nothing'}.",
                f"Open it as http://127.0.0.1:PORT. For another name set {self._setting} to its address.",
            )
        if caller.origin is not None and not self._is_own(caller.origin, caller.host):
            known = str(caller.host) if self._public_origin is None else f"{caller.host} and {self._public_origin}"
            return Refusal(
                403,
                "This request comes from another site.",
                f"its Origin is {caller.origin}, but {self._name} is {known}.",
                f"Use its own pages. Behind a proxy, set {self._setting} to the address in the browser.",
            )
        if caller.foreign:
            return Refusal(403, "This request comes from another site.", "the browser says so.", "Use its own pages.")
        return None

    @property
    def _setting(self) -> str:
        return "FLENWHEEL_STUDIO_URL" if self._name == "the studio" else "FLENWHEEL_PREFECT_URL"

    def _answers_to(self, host: Host, scope: Scope) -> bool:
        """Beyond loopback, and behind a proxy, a token guards every request: any name will do."""
        peer = str((scope.get("client") or ("", 0))[0])
        return (
            not self._loopback_only
            or is_loopback(host.name)
            or self._trusts(peer)
            or (self._public is not None and self._public.name == host.name)
        )

    def _is_own(self, origin: str, host: Host) -> bool:
        found = parse_origin(origin)
        return found is not None and (found == host or (self._public is not None and origin == self._public_origin))

    def _trusts(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        return any(address in proxy for proxy in self._proxies)

    def _client_of_proxy(self, headers: Headers, proxy: str) -> str:
        """The last address that no trusted proxy has: what stands before it may be invented."""
        for address in reversed(_listed(headers, "x-forwarded-for")):
            if not self._trusts(address):
                return address
        return proxy


def _is_foreign(scope: Scope, headers: Headers) -> bool:
    """True for what another site sends, except for a visit: a link to a page, in a tab of its own."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    visit = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not (visit and scope.get("method") == "GET")


def _listed(headers: Headers, name: str) -> list[str]:
    return [part.strip() for line in headers.getlist(name) for part in line.split(",") if part.strip()]


def _last(headers: Headers, name: str) -> str:
    return next(reversed(_listed(headers, name)), "")
