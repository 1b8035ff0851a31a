"""Who may talk to the studio, and what its answers carry."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from flenwheel_core.errors import UserError
from flenwheel_core.review.web.app import create_app
from flenwheel_core.review.web.security import MAXIMUM_JSON_BYTES
from flenwheel_core.store import Store
from tests.review.world import open_gate, settings_in

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
    settings = settings_in(tmp_path, host="0.0.0.0", token="long secret")
    open_gate(Store(settings.store_url), 2, side=64)
    client = TestClient(create_app(settings, None), base_url="http://studio.example", follow_redirects=False)
    assert client.get("/api/v1/gates").status_code == 401
    assert client.post(f"{GATE}/undo", json=UNDO).status_code == 401
    assert client.get("/").headers["location"] == "/login"
    assert client.get("/static/base.css").status_code == 200
    bearer = {"authorization": "Bearer long secret"}
    assert client.get("/api/v1/gates", headers=bearer).status_code == 200
    assert client.post(f"{GATE}/undo", json=UNDO, headers=bearer).status_code == 200
    assert client.get("/api/v1/gates", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_the_login_trades_the_token_for_a_cookie(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, host="0.0.0.0", token="long secret")
    client = TestClient(create_app(settings, None), base_url="http://studio.example", follow_redirects=False)
    assert client.post("/login", data={"token": "wrong"}).headers["location"].endswith("wrong=true")
    assert client.get("/").status_code == 303
    given = client.post("/login", data={"token": "long secret"})
    cookie = given.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "long secret" not in cookie
    assert client.get("/").status_code == 200


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    for path in ("/", "/api/v1/gates", "/static/base.css", "/nothing", "/api/v1/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


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
