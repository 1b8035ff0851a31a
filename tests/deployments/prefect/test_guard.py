"""The workspace's real Prefect server against other sites' pages, in a real browser: they can neither read, start, answer nor listen."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import pytest
from playwright.sync_api import Browser, Page
from pydantic import SecretStr

from benchmarks.kit.prefect_server import PrefectServer, serve
from benchmarks.kit.workspace import wait_for
from deployments.prefect.api import USER
from flenwheel_core.base.ids import Json

pytestmark = pytest.mark.slow
TOKEN = "a-secret-of-the-team"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[PrefectServer]:
    with serve(tmp_path_factory.mktemp("open"), database=prefect_database) as found:
        found.furnish()
        yield found


ATTACK = """
async ([url, path, options]) => {
  try {
    const answer = await fetch(url + path, options);
    return [answer.type, answer.status, await answer.text()];
  } catch (error) { return ["refused", 0, String(error)]; }
}
"""
LISTEN = """
([url, path]) => new Promise((done) => {
  const socket = new WebSocket(url.replace("http", "ws") + path);
  socket.onopen = () => done("open");
  socket.onerror = () => done("refused");
})
"""
FRAME = """
(url) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.onload = () => done(frame.contentDocument === null ? "shown or blocked" : "empty");
  frame.src = url; document.body.append(frame);
})
"""


def as_json(body: Json) -> Json:
    return {"method": "POST", "headers": {"content-type": "application/json"}, "body": json.dumps(body)}


@pytest.mark.parametrize("name", ["127.0.0.1", "evil.test"])
def test_another_sites_page_can_do_nothing(
    server: PrefectServer, other_site: int, chromium: Browser, name: str
) -> None:
    command = {"job_variables": {"command": "/usr/bin/touch /tmp/never"}, "state": {"type": "SCHEDULED"}}
    answer = {"run_input": {"verdict": "approve", "override_minimum": True}}
    create, resume = f"/api/deployments/{server.deployment}/create_flow_run", f"/api/flow_runs/{server.gate}/resume"
    before = len(server.runs())
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"http://{name}:{other_site}/")
        for path, options in (
            ("/api/deployments/filter", as_json({})),
            ("/api/deployments/filter", {"method": "POST", "body": "{}"}),
            ("/api/flow_runs/filter", as_json({})),
            ("/api/admin/version", {}),
            (create, as_json(command)),
            (create, {"method": "POST", "body": json.dumps(command)}),
            (create, {"method": "POST", "mode": "no-cors", "body": json.dumps(command)}),
            (resume, as_json(answer)),
            (resume, {"method": "POST", "mode": "no-cors", "body": json.dumps(answer)}),
            (f"/api/deployments/{server.deployment}", {"method": "DELETE"}),
        ):
            kind, status, text = page.evaluate(ATTACK, [server.url, path, options])
            assert (kind, status) in (("refused", 0), ("opaque", 0)), (path, kind, status, text)
        for path in ("/api/events/in", "/api/events/out", "/api/logs/out"):
            assert page.evaluate(LISTEN, [server.url, path]) == "refused", path
        assert page.evaluate("(url) => fetch(url, {mode: 'no-cors'}).then((a) => a.type)", server.url) == "opaque"
    runs = server.runs()
    assert len(runs) == before, "nothing was started"
    assert [run.waits() for run in runs if run.id == server.gate] == [True], "the gate waits on"
    assert server.api.send("GET", f"/deployments/{server.deployment}").status_code == 200


def test_a_name_that_was_bent_to_this_machine_is_not_ours(server: PrefectServer, chromium: Browser) -> None:
    port = server.url.rpartition(":")[2]
    with chromium.new_context() as context:
        page = context.new_page()
        answer = page.goto(f"http://evil.test:{port}/")
        assert answer is not None and answer.status == 403
        # The page of the refusal is of the same origin as the API by now: rebinding's whole point.
        kind, status, text = page.evaluate(ATTACK, ["", "/api/deployments/filter", as_json({})])
        assert (kind, status) == ("basic", 403) and "evil.test" in text, text
        assert page.evaluate(LISTEN, [f"http://evil.test:{port}", "/api/events/in"]) == "refused"


def test_the_interface_is_not_shown_in_another_sites_frame(
    server: PrefectServer, other_site: int, chromium: Browser
) -> None:
    with chromium.new_context() as context:
        page = context.new_page()
        asked: list[int] = []
        page.on("response", lambda response: asked.append(response.status) if server.url in response.url else None)
        page.goto(f"http://evil.test:{other_site}/")
        page.evaluate(FRAME, server.url)
        assert asked and set(asked) <= {403}
    headers = httpx.get(server.url, follow_redirects=True).headers
    assert headers["x-frame-options"] == "SAMEORIGIN" and "access-control-allow-origin" not in headers


def test_the_interface_opens_lists_and_listens(server: PrefectServer, chromium: Browser, other_site: int) -> None:
    for version in ("v2", "v1"):
        with chromium.new_context() as context:
            if version == "v1":
                context.add_cookies([{"name": "prefect_ui_version", "value": "v1", "url": server.url}])
            page = context.new_page()
            bad = watch(page, server.url)
            # By a link on another site's page: a visit, which takes nothing from anybody.
            page.goto(f"http://evil.test:{other_site}/")
            page.evaluate("(url) => { location.href = url }", f"{server.url}/deployments")
            page.wait_for_selector("text=flywheel-1", timeout=60_000)
            page.goto(f"{server.url}/runs")
            page.wait_for_selector("text=waits", timeout=60_000)
            # The events page listens on a WebSocket.
            assert page.evaluate(LISTEN, [server.url, "/api/events/out"]) == "open"
            assert bad == [], version


def watch(page: Page, url: str) -> list[str]:
    bad: list[str] = []
    page.on(
        "response",
        lambda answer: (
            bad.append(f"{answer.status} {answer.url}") if answer.url.startswith(url) and answer.status >= 400 else None
        ),
    )
    return bad


def test_programs_pass_as_before(server: PrefectServer, tmp_path: Path) -> None:
    assert httpx.get(f"{server.url}/api/health").status_code == 200
    assert httpx.get(f"{server.url}/ui-settings").json()["api_url"] == "/api", "a relative address works from anywhere"
    code = (
        "from prefect.client.orchestration import get_client\n"
        "from prefect.events import emit_event\n"
        "with get_client(sync_client=True) as client: print(len(client.read_deployments()))\n"
        "emit_event('told', {'prefect.resource.id': 'test'})\n"
    )
    variables = {**os.environ, "PREFECT_API_URL": f"{server.url}/api", "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    wait_for(lambda: _told(server), 240, lambda: "the event did not arrive")


def _told(server: PrefectServer) -> bool:
    found = server.api.call("POST", "/events/filter", {"filter": {"event": {"name": ["told"]}}})
    return bool(cast("dict[str, Json]", found)["events"])


def test_with_a_token_other_machines_names_are_served_and_guessing_is_slowed(
    tmp_path: Path, prefect_database: Path
) -> None:
    with serve(
        tmp_path, database=prefect_database, host="::1", token=SecretStr(TOKEN), trusted_proxies=("::1",)
    ) as server:
        url = f"{server.url}/api/flow_runs/count"
        right = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        wrong = "Basic " + base64.b64encode(f"{USER}:wrong".encode()).decode()
        stranger, owner = {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-For": "198.51.100.7"}
        guesses = [httpx.post(url, headers={**stranger, "Authorization": wrong}, json={}) for _ in range(12)]
        assert [answer.status_code for answer in guesses[:5]] == [401] * 5
        slowed = [answer for answer in guesses if answer.status_code == 429]
        assert slowed and all(int(answer.headers["retry-after"]) >= 1 for answer in slowed)
        for ours in (owner, {}, {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Host": "prefect.example"}):
            assert httpx.post(url, headers={**ours, "Authorization": right}, json={}).status_code == 200
        began = time.monotonic()
        assert httpx.post(url, headers={"Authorization": wrong}, json={}).status_code == 401
        assert time.monotonic() - began >= 0.5, "this machine's own programs are only delayed"
