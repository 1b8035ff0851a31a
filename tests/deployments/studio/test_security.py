"""Who may talk to the studio, and what its answers carry."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from deployments.studio.app import create_app
from deployments.studio.security import MAXIMUM_JSON_BYTES
from flenwheel_core.base.errors import UserError
from flenwheel_core.store import Store
from tests.kit.gate_world import open_gate, settings_in

TOKEN = "a long secret of ours"
GATE = "/api/v1/gates/mira-t1-gate-a-r1"
UNDO = {"id": "undo-0001", "author": "ana"}


def test_beyond_loopback_a_token_is_mandatory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without a token"):
        create_app(settings_in(tmp_path, host="0.0.0.0"), None)


def test_a_foreign_host_name_is_refused_on_loopback(client: TestClient) -> None:
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
        assert client.get("/api/v1/session", headers={"host": host}).status_code == 403, host
    for host in ("localhost:4300", "127.0.0.1:4300", "[::1]:4300"):
        assert client.get("/api/v1/session", headers={"host": host}).status_code == 200, host


def test_changes_need_the_csrf_token(client: TestClient) -> None:
    assert client.post(f"{GATE}/undo", json=UNDO, headers={"x-csrf-token": ""}).status_code == 403
    assert client.post(f"{GATE}/undo", json=UNDO, headers={"x-csrf-token": "0" * 64}).status_code == 403
    assert client.post(f"{GATE}/undo", json=UNDO).status_code == 200


def test_another_sites_request_is_refused_even_with_the_token(client: TestClient) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999"):
        assert client.post(f"{GATE}/undo", json=UNDO, headers={"origin": origin}).status_code == 403, origin
    assert client.post(f"{GATE}/undo", json=UNDO, headers={"origin": "http://127.0.0.1:8000"}).status_code == 200


def test_the_csrf_token_outlives_a_restart(client: TestClient, tmp_path: Path) -> None:
    again = TestClient(create_app(settings_in(tmp_path), None), base_url="http://127.0.0.1")
    assert again.get("/api/v1/session").json()["csrf"] == client.headers["x-csrf-token"]
    assert (tmp_path / "studio-secret").stat().st_mode & 0o077 == 0


def test_with_a_token_everything_needs_it(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, host="0.0.0.0", token=TOKEN)
    open_gate(Store(settings.store_url), 2, side=64)
    client = TestClient(create_app(settings, None), base_url="http://studio.example", follow_redirects=False)
    assert client.get("/api/v1/gates").status_code == 401
    assert client.post(f"{GATE}/undo", json=UNDO).status_code == 401
    assert client.get("/").headers["location"] == "/login"
    assert client.get("/static/base.css").status_code == 200
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/v1/gates", headers=bearer).status_code == 200
    assert client.post(f"{GATE}/undo", json=UNDO, headers=bearer).status_code == 200
    assert client.get("/api/v1/gates", headers={"authorization": "Bearer wrong"}).status_code == 401


@pytest.mark.parametrize("token", ["", "   "])
def test_a_blank_token_is_none_and_switches_nothing_off(tmp_path: Path, token: str) -> None:
    with pytest.raises(UserError, match="without a token"):
        create_app(settings_in(tmp_path, host="0.0.0.0", token=token), None)
    client = TestClient(create_app(settings_in(tmp_path, token=token), None), base_url="http://127.0.0.1")
    assert client.post("/api/v1/characters/mira/ingest").json()["what"] == "The CSRF token is missing or wrong."
    for given in ("Bearer ", "Bearer", "bearer ", ""):
        assert client.post("/api/v1/characters/mira/ingest", headers={"authorization": given}).status_code == 403
    client.headers["x-csrf-token"] = client.get("/api/v1/session").json()["csrf"]
    assert client.post("/api/v1/characters/mira/ingest").status_code == 404


@pytest.fixture
def guarded(tmp_path: Path) -> TestClient:
    """A studio with a token; nobody is logged in."""
    settings = settings_in(tmp_path, host="0.0.0.0", token=TOKEN)
    return TestClient(create_app(settings, None), base_url="http://studio.example", follow_redirects=False)


def test_the_login_page_tells_strangers_nothing(guarded: TestClient) -> None:
    csrf = guarded.get("/api/v1/session", headers={"authorization": f"Bearer {TOKEN}"}).json()["csrf"]
    for answer in (
        guarded.get("/login"),
        guarded.get("/login?back=//evil.example"),
        guarded.post("/login", data={"token": "x" * 600}),
    ):
        assert csrf not in answer.text and 'name="default-author" content=""' in answer.text


def test_a_bearer_token_names_its_scheme(guarded: TestClient) -> None:
    for given, status in (
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"BEARER  {TOKEN} ", 200),
        (TOKEN, 401),
        (f"Token {TOKEN}", 401),
        (f"Bearer{TOKEN}", 401),
        ("Bearer", 401),
    ):
        assert guarded.get("/api/v1/gates", headers={"authorization": given}).status_code == status, given


def test_guessing_is_slowed_and_a_login_is_not_held_up_by_it(guarded: TestClient) -> None:
    assert guarded.post("/login", data={"token": TOKEN}).headers["location"] == "/"
    session = dict(guarded.cookies)
    guarded.cookies.clear()
    seen = [guarded.post("/login", data={"token": f"guess {number}"}) for number in range(8)]
    assert [answer.status_code for answer in seen[:5]] == [303] * 5
    assert seen[-1].status_code == 429 and "Too many wrong tokens" in seen[-1].text
    assert int(seen[-1].headers["retry-after"]) >= 1
    for known in (TOKEN, "wrong"):
        answer = guarded.get("/api/v1/gates", headers={"authorization": f"Bearer {known}"})
        assert answer.status_code == 429 and "retry-after" in answer.headers, "a right one is not looked at either"
    guarded.cookies.update(session)
    assert guarded.get("/api/v1/gates").status_code == 200


def test_logging_out_ends_the_session_at_the_server(guarded: TestClient) -> None:
    def login() -> dict[str, str]:
        guarded.cookies.clear()
        guarded.post("/login", data={"token": TOKEN})
        return dict(guarded.cookies)

    def is_in(session: dict[str, str]) -> bool:
        guarded.cookies.clear()
        guarded.cookies.update(session)
        return guarded.get("/").status_code == 200

    first, second = login(), login()
    assert first != second and is_in(first) and "Log out" in guarded.get("/").text
    assert guarded.post("/logout", headers={"origin": "http://evil.example"}).status_code == 403
    assert is_in(first), "another site logs nobody out"
    assert guarded.post("/logout").headers["location"] == "/login"
    assert not is_in(first) and is_in(second), "the other browser stays in"


def test_a_login_leads_back_to_the_page_that_was_asked_for_and_nowhere_else(guarded: TestClient) -> None:
    assert guarded.get("/gates/mira-t1-gate-a-r1").headers["location"] == "/login?back=%2Fgates%2Fmira-t1-gate-a-r1"
    assert 'value="/gates/x"' in guarded.get("/login?back=/gates/x").text
    wrong = guarded.post("/login", data={"token": "wrong", "back": "/gates/x"})
    assert wrong.headers["location"] == "/login?back=%2Fgates%2Fx&wrong=true"
    for elsewhere in ("//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/a?b"):
        assert guarded.get("/login", params={"back": elsewhere}).status_code == 422, elsewhere
        assert guarded.post("/login", data={"token": TOKEN, "back": elsewhere}).status_code == 422, elsewhere
    assert guarded.post("/login", data={"token": TOKEN, "back": "/gates/x"}).headers["location"] == "/gates/x"


def test_a_link_in_a_message_asks_again_from_the_studios_own_page(guarded: TestClient) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    answer = guarded.get("/gates/mira-t1-gate-a-r1", headers=link)
    assert answer.status_code == 200 and 'http-equiv="refresh"' in answer.text and "mira" not in answer.text
    assert guarded.get("/gates/mira-t1-gate-a-r1", headers={"sec-fetch-site": "same-origin"}).status_code == 303


def test_a_new_token_ends_every_session(guarded: TestClient, tmp_path: Path) -> None:
    guarded.post("/login", data={"token": TOKEN})
    for token, status in ((TOKEN, 200), ("another long secret", 303)):
        settings = settings_in(tmp_path, host="0.0.0.0", token=token)
        again = TestClient(create_app(settings, None), base_url="http://studio.example", follow_redirects=False)
        again.cookies.update(dict(guarded.cookies))
        assert again.get("/").status_code == status


def test_two_studios_of_one_machine_keep_their_own_cookies(tmp_path: Path) -> None:
    names = set()
    for number in range(2):
        settings = settings_in(tmp_path / str(number), host="0.0.0.0", token=TOKEN)
        client = TestClient(create_app(settings, None), base_url="http://studio.example", follow_redirects=False)
        client.post("/login", data={"token": TOKEN})
        names |= set(client.cookies.keys())
    assert len(names) == 2


def test_odd_cookies_of_others_lock_nobody_out(guarded: TestClient) -> None:
    guarded.post("/login", data={"token": TOKEN})
    ours = "; ".join(f"{name}={value}" for name, value in guarded.cookies.items())
    guarded.cookies.clear()
    for odd in ('a="b;c', "[x]=1", "{}", "=;;", "bl\u00e4"):
        headers = {"cookie": f"{odd}; {ours}".encode()}
        assert guarded.get("/", headers=headers).status_code == 200, odd  # type: ignore[arg-type]


@pytest.mark.parametrize("https", [True, False])
def test_the_cookie_is_secure_where_the_browser_sees_https(tmp_path: Path, https: bool) -> None:
    settings = settings_in(tmp_path, token=TOKEN, studio_url="https://studio.example")
    client = TestClient(create_app(settings, None), base_url="http://127.0.0.1:4300", follow_redirects=False)
    origin = "https://studio.example" if https else "http://127.0.0.1:4300"
    given = client.post("/login", data={"token": TOKEN}, headers={"origin": origin})
    assert ("Secure" in given.headers["set-cookie"]) is https


@pytest.mark.parametrize("host", ["[::1", "[evil.test", "][", "127.0.0.1:4300@evil.test", "127.0.0.1/evil"])
def test_an_odd_host_header_is_refused_not_stumbled_over(client: TestClient, host: str) -> None:
    assert client.get("/api/v1/session", headers={"host": host}).status_code == 400


def test_the_login_trades_the_token_for_a_cookie(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, host="0.0.0.0", token=TOKEN)
    client = TestClient(create_app(settings, None), base_url="http://studio.example", follow_redirects=False)
    assert client.post("/login", data={"token": "wrong"}).headers["location"].endswith("wrong=true")
    assert client.get("/").status_code == 303
    given = client.post("/login", data={"token": TOKEN})
    cookie = given.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and TOKEN not in cookie
    assert client.get("/").status_code == 200


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    for path in ("/", "/api/v1/gates", "/static/base.css", "/nothing", "/api/v1/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/broken", "/api/v1/broken"])
def test_a_defect_is_answered_in_words_and_carries_the_policy_too(tmp_path: Path, path: str) -> None:
    app = create_app(settings_in(tmp_path), None)

    @app.get(path)
    def broken() -> None:
        raise KeyError("a secret of the inside")

    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    answer = client.get(path)
    assert answer.status_code == 500 and "The studio met a defect." in answer.text
    assert "secret" not in answer.text and "default-src 'none'" in answer.headers["content-security-policy"]


def test_large_bodies_are_refused(client: TestClient) -> None:
    body = b"x" * (MAXIMUM_JSON_BYTES + 1)
    assert client.post(f"{GATE}/undo", content=body, headers={"content-type": "application/json"}).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2f..%2fapp.py",
        "/api/v1/pictures/..%2f..%2fetc%2fpasswd/file",
        "/api/v1/pictures/%2e%2e/file",
        f"/api/v1/pictures/{'A' * 64}/file",
        "/api/v1/gates/..%2f..%2fx/pictures",
        "/gates/%00",
        f"/api/v1/pictures/{'0' * 64}/thumbnail/99999",
    ],
)
def test_no_path_from_a_url_reaches_the_disk(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (404, 422)


def test_a_browser_names_no_files(client: TestClient, tmp_path: Path) -> None:
    secret = tmp_path / "secret.toml"
    secret.write_text("password = 'hunter2'")
    body = {"name": "rex", "trigger": "ohwx_rex", "class_word": "dog", "kind": "subject"}
    for recipe in (str(secret), "../secret.toml", "secret.toml"):
        answer = client.post("/api/v1/characters", json={**body, "recipe": recipe})
        assert answer.status_code == 422 and "hunter2" not in answer.text
        answer = client.post("/api/v1/characters/mira/turns", json={"recipe": recipe})
        assert answer.status_code == 422


def test_only_pictures_are_served(client: TestClient, store: Store) -> None:
    secret = store.put_blob(b"<script>alert(1)</script>")
    assert client.get(f"/api/v1/pictures/{secret}/file").status_code == 404
    assert client.get(f"/api/v1/pictures/{secret}/thumbnail/160").status_code == 422


class Inline(HTMLParser):
    """Finds what the content policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "style" or "style" in names or (tag == "script" and "src" not in names):
            self.found.append(tag)
        self.found += [name for name in names if name.startswith("on")]
        for name in ("src", "href", "action"):
            if re.match(r"(https?:)?//", names.get(name) or ""):
                self.found.append(f"{tag} {names[name]}")


def test_pages_hold_no_inline_script_and_nothing_from_outside(client: TestClient) -> None:
    for path in (
        "/",
        "/gates/mira-t1-gate-a-r1",
        "/characters",
        "/characters/mira",
        "/gallery",
        "/loras",
        "/edit-prompts",
        "/api",
    ):
        page = client.get(path)
        assert page.status_code == 200, path
        parser = Inline()
        parser.feed(page.text)
        assert parser.found == [], path


def test_texts_are_escaped(client: TestClient, store: Store) -> None:
    image = client.get(f"{GATE}/pictures").json()["columns"]["digest"][0]
    body = {"id": "ana-00001", "author": "<b>ana</b>", "verdict": "good", "caption": "<script>alert(1)</script>"}
    assert client.post(f"{GATE}/pictures/{image}/decision", json=body).status_code == 200
    closing = {"author": "<b>ana</b>", "verdict": "stop"}
    assert client.post(f"{GATE}/finish", json=closing).status_code == 200
    page = client.get("/").text
    assert "<b>ana</b>" not in page and "&lt;b&gt;ana&lt;/b&gt;" in page
