"""A studio below a path of another host's address, behind a small real proxy that serves nothing else there."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser
from pydantic import SecretStr
from starlette.testclient import TestClient

from deployments.studio.app import create_app
from flenwheel_core.base.errors import UserError
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.characters import Library
from flenwheel_core.store import Store
from tests.kit.browser import GATE, Reviewer, free_port, until
from tests.kit.gate_world import open_gate, settings_in
from tests.kit.turn_world import fill_turn

TOKEN = "a-secret-of-the-team"
ADDRESSES = """
[...document.querySelectorAll("[href], [src], [action]")].flatMap((node) =>
  ["href", "src", "action"].map((name) => node.getAttribute(name)).filter(Boolean))
"""


class Proxy(ThreadingHTTPServer):
    """Hands what is asked for below /flen to the studio, as it is or without the path, and notes what is asked for elsewhere."""

    daemon_threads = True

    def __init__(self, port: int, studio: int, *, takes_away: bool) -> None:
        super().__init__(("127.0.0.1", port), Hands)
        self.studio = studio
        self.taken = len("/flen") if takes_away else 0
        self.strays: list[str] = []


class Hands(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Proxy)
        if not self.path.startswith("/flen/"):
            self.server.strays.append(self.path)
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with closing(HTTPConnection("127.0.0.1", self.server.studio)) as studio:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            studio.request(self.command, self.path[self.server.taken :], body, headers)
            got = studio.getresponse()
            self.send_response(got.status)
            for name, value in got.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(got.read())

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def studio_and_proxy(settings: Settings, inside: int, outside: int, *, takes_away: bool) -> Iterator[Proxy]:
    studio = uvicorn.Server(uvicorn.Config(create_app(settings, None), port=inside, log_level="warning"))
    with Proxy(outside, inside, takes_away=takes_away) as proxy:
        threads = [threading.Thread(target=one) for one in (studio.run, proxy.serve_forever)]
        for thread in threads:
            thread.start()
        until(lambda: studio.started, "the studio")
        try:
            yield proxy
        finally:
            proxy.shutdown()
            studio.should_exit = True
            for thread in threads:
                thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("takes_away", [False, True])
def test_people_log_in_decide_and_find_every_page_below_the_path(
    tmp_path: Path, chromium: Browser, takes_away: bool
) -> None:
    inside, outside = free_port(), free_port()
    public = f"http://127.0.0.1:{outside}/flen"
    settings = settings_in(tmp_path, token=TOKEN, studio_url=f"{public}/")
    store = Store(settings.store_url)
    open_gate(store, 3, side=96, minimum=1)
    fill_turn(store, [entry.image for entry in Library(store).pool("mira")])
    with (
        studio_and_proxy(settings, inside, outside, takes_away=takes_away) as proxy,
        chromium.new_context(viewport={"width": 1440, "height": 900}) as context,
    ):
        reviewer = Reviewer(context, public)
        page = reviewer.page
        page.goto(f"{public}/gates/{GATE}")
        page.fill("input[name=token]", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#gate[data-ready]")
        assert page.url == f"{public}/gates/{GATE}"
        assert [cookie["path"] for cookie in context.cookies()] == ["/flen"], "others on the host are not told it"
        reviewer.press("g")
        reviewer.saved()
        assert len(Reviews(store).current(GATE)) == 1

        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        kinds, waiting = {""}, ["/flen/"]
        while waiting:
            page.goto(f"http://127.0.0.1:{outside}{waiting.pop()}", wait_until="networkidle")
            for address in page.evaluate(ADDRESSES):
                assert address.startswith(("/flen/", "#", "http://")), address
                kind, _, more = urlsplit(address).path.removeprefix("/flen/").partition("/")
                if kind not in ("#", "http:", "static", "logout") and "/v1/" not in address:
                    found = kind + "/one" * bool(more)
                    waiting += [address] * (found not in kinds)  # one page of each kind is enough
                    kinds.add(found)
        for kind in ("characters", "turns", "loras"):
            assert {kind, f"{kind}/one"} <= kinds
        assert {"gallery", "gates/one", "pictures/one", "edit-prompts", "api"} <= kinds
        assert failed == []
        page.goto(f"{public}/turns/")  # the framework itself leads to the address without the slash
        assert page.url == f"{public}/turns"
        page.click("text=Log out")
        page.wait_for_url(f"{public}/login")
        assert reviewer.complaints == [] and proxy.strays == []


def test_this_machine_opens_it_without_the_path(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, studio_url="https://host.example/flen", token=TOKEN)
    client = TestClient(create_app(settings, None), base_url="http://127.0.0.1:4300")
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for path in ("/characters", "/flen/characters", "/flen"):
        assert client.get(path, headers=bearer).status_code == 200
    assert client.get("/flenwheel", headers=bearer).status_code == 404
    assert client.get("/flen/api/v1/session").status_code == 401, "a path is no way around the login"
    foreign = {**bearer, "origin": "https://host.example.evil.test"}
    assert client.get("/flen/api/v1/session", headers=foreign).status_code == 403
    assert client.get("/flen/", headers={**bearer, "origin": "https://host.example"}).status_code == 200


@pytest.mark.parametrize("path", ["/api", "/gates/mine", "/static"])
def test_a_path_that_is_a_page_of_its_own_is_refused(path: str, tmp_path: Path) -> None:
    settings = settings_in(tmp_path).model_copy(
        update={"studio_url": f"https://host.example{path}", "token": SecretStr(TOKEN)}
    )
    with pytest.raises(UserError, match="cannot lie below"):
        create_app(settings, None)
