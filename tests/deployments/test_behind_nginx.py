"""Studio and Prefect behind a real nginx with TLS, set up as the guide says, in a real browser."""

import base64
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from benchmarks.kit.prefect_server import serve
from benchmarks.kit.workspace import PROJECT
from deployments.prefect.api import USER
from deployments.studio.app import create_app
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store
from tests.kit.browser import Reviewer, free_port, until
from tests.kit.gate_world import open_gate, settings_in

pytestmark = pytest.mark.slow
UNPACKED = PROJECT / ".venv" / "nginx" / "usr" / "sbin"
TOKEN = "a-secret-of-the-team"
GATE = "mira-t1-gate-a-r1"
LOGGED_IN = """
async ([path, secret, body]) => {
  const headers = {"content-type": "application/json", authorization: "Basic " + secret};
  return (await fetch(path, {method: "POST", headers, body})).status;
}
"""
LISTEN = """
(path) => new Promise((done) => {
  const socket = new WebSocket(location.origin.replace("http", "ws") + path, "prefect");
  socket.onopen = () => done("open");
  socket.onerror = () => done("refused");
})
"""


@dataclass
class Proxy:
    """An nginx with the guide's configuration, under other names and ports."""

    program: str
    folder: Path
    port: int

    @contextmanager
    def running(self, studio: int, prefect: int, *, forwarding: bool) -> Iterator[None]:
        text = (PROJECT / "docs" / "guide.md").read_text()
        block = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
        assert block is not None
        servers = (
            block[1]
            .replace("listen 443", f"listen 127.0.0.1:{self.port}")
            .replace(".example", ".test")
            .replace("/etc/ssl/flenwheel", str(self.folder / "tls"))
            .replace(":4300", f":{studio}")
            .replace(":4200", f":{prefect}")
        )
        if not forwarding:
            servers = re.sub(r" *proxy_set_header X-Forwarded.*\n", "", servers)
        temporary = "".join(
            f"{kind}_temp_path {self.folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = self.folder / "nginx.conf"
        configuration.write_text(
            f"daemon off; pid {self.folder}/pid; error_log {self.folder}/error.log;\n"
            f"events {{}} http {{ access_log off; {temporary}\n{servers}}}"
        )
        process = subprocess.Popen([self.program, "-e", f"{self.folder}/error.log", "-c", str(configuration)])
        try:
            yield
        finally:
            process.terminate()
            process.wait(240)


@pytest.fixture
def proxy(tmp_path: Path) -> Proxy:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:{UNPACKED}")
    assert program is not None, "fetch Debian's nginx: make nginx"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=studio.test"
    files = ["-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return Proxy(program, tmp_path, free_port())


def open_interface(page: Page, address: str) -> None:
    """Opens a page of the Prefect interface, until it asks the server. A page of hundreds of scripts that misses one on a busy machine does
    nothing: people load it again.
    """
    missed: list[str] = []
    page.on("requestfailed", lambda request: missed.append(f"{request.url} {request.failure}"))
    page.on("response", lambda answer: missed.append(f"{answer.url} {answer.status}") if answer.status >= 400 else None)
    for _ in range(3):
        with suppress(PlaywrightTimeout):
            with page.expect_request(lambda request: "/api/" in request.url, timeout=60_000):
                page.goto(address, timeout=60_000)
            return
    raise AssertionError(f"the interface asks for nothing; missed: {missed}")


@pytest.mark.parametrize("forwarding", [True, False])
def test_people_log_in_decide_and_look_at_runs_through_the_proxy(
    proxy: Proxy, tmp_path: Path, chromium: Browser, prefect_database: Path, forwarding: bool
) -> None:
    public = f"https://studio.test:{proxy.port}"
    more: dict[str, object] = {
        "token": TOKEN,
        "studio_url": public,
        "prefect_url": f"https://prefect.test:{proxy.port}",
        "trusted_proxies": ("127.0.0.1",) if forwarding else (),
    }
    settings, port = settings_in(tmp_path / "workspace", **more), free_port()
    store = Store(settings.store_url)
    open_gate(store, 3, side=96, minimum=1)
    config = uvicorn.Config(create_app(settings, None), port=port, log_level="warning", proxy_headers=False)
    studio = uvicorn.Server(config)
    thread = threading.Thread(target=studio.run)
    thread.start()
    (tmp_path / "prefect").mkdir()
    try:
        with (
            serve(tmp_path / "prefect", database=prefect_database, **more) as server,
            proxy.running(port, int(server.url.rpartition(":")[2]), forwarding=forwarding),
            chromium.new_context(ignore_https_errors=True, viewport={"width": 1440, "height": 900}) as context,
        ):
            server.furnish()
            reviewer = Reviewer(context, public)
            page = reviewer.page
            page.goto(f"{public}/gates/{GATE}")
            page.fill("input[name=token]", TOKEN)
            page.click("form[action='/login'] button")
            page.wait_for_selector("#gate[data-ready]")
            (cookie,) = context.cookies()
            assert cookie["secure"] and cookie["httpOnly"]
            reviewer.press("g")
            reviewer.saved()
            until(lambda: len(Reviews(store).current(GATE)) == 1, "the decision is kept")
            page.goto(f"{public}/characters")
            page.click("form[action='/logout'] button")
            page.wait_for_url(f"{public}/login")
            assert reviewer.complaints == []

            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            open_interface(page, f"https://prefect.test:{proxy.port}/deployments")
            assert all(url.startswith(f"https://prefect.test:{proxy.port}/") for url in asked if "/api" in url), asked
            secret = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
            path = f"/api/deployments/{server.deployment}/create_flow_run"
            assert page.evaluate(LOGGED_IN, [path, secret, "{}"]) == 201
            assert page.evaluate(LOGGED_IN, [path, "bm9ib2R5", "{}"]) == 401
            assert page.evaluate(LISTEN, "/api/events/out") == "open"
    finally:
        studio.should_exit = True
        thread.join()
