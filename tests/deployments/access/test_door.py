"""Where a request comes from."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.types import Scope

from deployments.access.door import Door, Host, check_binding, parse_host, parse_origin
from flenwheel_core.base.errors import UserError
from flenwheel_core.base.settings import Settings
from tests.kit.gate_world import settings_in

TOKEN = "sixteen-or-more-signs"


def scope(headers: Mapping[str, str], client: str = "127.0.0.1", method: str = "GET", kind: str = "http") -> Scope:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    found: Scope = {"type": kind, "path": "/", "headers": raw, "client": (client, 50000), "scheme": "http"}
    return {**found, "method": method} if kind == "http" else {**found, "scheme": "ws"}


def status(settings: Settings, headers: Mapping[str, str], **more: str) -> int:
    """What the door answers; 200 if it lets the request in."""
    door = Door(settings, settings.studio_url, "the studio")
    asked = scope(headers, **more)
    refusal = door.refusal(asked, door.caller(asked))
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("127.0.0.1:4300", Host("127.0.0.1", 4300)),
        ("LOCALHOST", Host("localhost", None)),
        ("studio.example:443", Host("studio.example", None)),
        ("[::1]:4300", Host("::1", 4300)),
        ("[0:0:0:0:0:0:0:1]", Host("::1", None)),
    ],
)
def test_host_names_are_read(text: str, host: Host) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "[::1",
        "[evil.test",
        "][",
        "127.0.0.1:4300@evil.test",
        "127.0.0.1/evil",
        "127.0.0.1:evil.test",
        "[::1]@evil.test:80",
        "127.0.0.1:99999",
        "[:::]",
        "a b",
        "ex\u00e4mple",
    ],
)
def test_what_is_no_host_name_is_refused(tmp_path: Path, text: str) -> None:
    assert parse_host(text) is None
    assert status(settings_in(tmp_path), {"host": text}) == 400


def test_a_usual_port_belongs_to_its_own_scheme() -> None:
    assert parse_origin("https://studio.example:443") == parse_origin("https://studio.example")
    assert parse_origin("http://studio.example:443") is None
    assert parse_origin("null") is None and parse_origin("file://") is None


def test_names_of_other_sites_do_not_reach_this_machine(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    for host in ("evil.test", "127.0.0.1.evil.test:4300", ""):
        assert status(settings, {"host": host}) == 403, host
    for host in ("localhost:4300", "127.0.0.1:4300", "[::1]:4300"):
        assert status(settings, {"host": host}) == 200, host


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_pages_of_other_sites_are_refused(tmp_path: Path, kind: str) -> None:
    settings, here = settings_in(tmp_path), {"host": "127.0.0.1:4200"}
    assert status(settings, here, kind=kind) == 200, "a program"
    assert status(settings, {**here, "origin": "http://127.0.0.1:4200"}, kind=kind) == 200
    for origin in ("http://evil.test", "null", "http://127.0.0.1:8999", "http://localhost:4200", "file://"):
        assert status(settings, {**here, "origin": origin}, kind=kind) == 403, origin
    for site in ("cross-site", "same-site"):
        assert status(settings, {**here, "sec-fetch-site": site, "sec-fetch-mode": "no-cors"}, kind=kind) == 403, site


def test_a_link_from_elsewhere_may_be_followed_but_not_framed_or_posted(tmp_path: Path) -> None:
    visit = {"host": "127.0.0.1:4300", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    settings = settings_in(tmp_path)
    assert status(settings, {**visit, "sec-fetch-dest": "document"}) == 200
    assert status(settings, {**visit, "sec-fetch-dest": "document"}, method="POST") == 403
    assert status(settings, {**visit, "sec-fetch-dest": "iframe"}) == 403


def test_behind_a_proxy_that_keeps_its_own_host_the_public_address_counts(tmp_path: Path) -> None:
    asked = {"host": "127.0.0.1:4300", "origin": "https://studio.example"}
    assert status(settings_in(tmp_path), asked) == 403
    settings = settings_in(tmp_path, token=TOKEN, studio_url="https://studio.example/")
    assert status(settings, asked) == 200
    assert status(settings, {**asked, "host": "studio.example"}) == 200
    assert status(settings, {**asked, "origin": "http://studio.example"}) == 403
    assert status(settings, {**asked, "origin": "https://evil.test"}) == 403
    assert status(settings, {**asked, "host": "evil.test"}) == 403


def test_a_refusal_says_what_was_compared(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    door = Door(settings, settings.studio_url, "the studio")
    asked = scope({"host": "127.0.0.1:4300", "origin": "https://studio.example"})
    refusal = door.refusal(asked, door.caller(asked))
    assert refusal is not None
    assert refusal.why == "its Origin is https://studio.example, but the studio is 127.0.0.1:4300."
    assert "FLENWHEEL_STUDIO_URL" in refusal.remedy


def test_only_a_trusted_proxy_is_believed(tmp_path: Path) -> None:
    forwarded = {
        "host": "127.0.0.1:4300",
        "origin": "https://studio.example:8443",
        "x-forwarded-host": "evil.test, studio.example:8443",
        "x-forwarded-proto": "https",
        "x-forwarded-for": "203.0.113.9, 198.51.100.7",
    }
    settings = settings_in(tmp_path, token=TOKEN, trusted_proxies="127.0.0.1, 10.0.0.0/8")
    assert status(settings, forwarded) == 200
    assert status(settings, forwarded, client="192.0.2.1") == 403
    door = Door(settings, None, "the studio")
    told = door.caller(scope(forwarded))
    assert (told.client, told.scheme, str(told.host)) == ("198.51.100.7", "https", "studio.example:8443")
    chain = {**forwarded, "x-forwarded-for": "198.51.100.7, 10.1.2.3"}
    assert door.caller(scope(chain)).client == "198.51.100.7", "what the inner proxy says of the outer one"
    stranger = door.caller(scope(forwarded, client="192.0.2.1"))
    assert (stranger.client, stranger.scheme, str(stranger.host)) == ("192.0.2.1", "http", "127.0.0.1:4300")


@pytest.mark.parametrize(
    "opening",
    [
        {"host": "0.0.0.0"},
        {"host": "[::]"},
        {"host": "studio.example"},
        {"studio_url": "https://studio.example"},
        {"prefect_url": "https://prefect.example"},
        {"trusted_proxies": ("127.0.0.1",)},
    ],
)
def test_whatever_lets_others_in_needs_a_token_that_cannot_be_guessed(
    tmp_path: Path, opening: dict[str, object]
) -> None:
    for token in (None, "", "   "):
        with pytest.raises(UserError, match="without a token"):
            check_binding(settings_in(tmp_path, token=token, **opening))
    with pytest.raises(UserError, match="too short"):
        check_binding(settings_in(tmp_path, token="fifteen-letters", **opening))
    check_binding(settings_in(tmp_path, token=TOKEN, **opening))


def test_on_this_machine_alone_no_token_is_needed(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "::1", "[::1]", " "):
        check_binding(settings_in(tmp_path, host=host))
    check_binding(settings_in(tmp_path, studio_url="http://localhost:9000"))
