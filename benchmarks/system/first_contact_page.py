"""A page of another site in a real Chromium, against every door of a running workspace: `python -m benchmarks.system.first_contact_page`.

The doors are all addresses that Prefect's API and the studio's say they have, besides their pages, WebSockets and frames. The page is of
another port of this machine, of another name, of a sandbox without an origin, and of a name that was bent to this machine's address.
Accepted, and to be zero: an answer that the page can read, an answer of the server that is no refusal, an open WebSocket, and anything that
is different in the workspace afterwards. Following a link to a page is no attack and is left out.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import httpx
from playwright.sync_api import Page, Response, sync_playwright

from benchmarks.kit.workspace import Running, write_recipe
from benchmarks.result_file import RESULTS, Row
from benchmarks.system.first_contact_file import merge_rows
from deployments.studio.app import create_app
from flenwheel_core.base.ids import Json
from flenwheel_core.base.services import load_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.characters import Library

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
NAMES = "--host-resolver-rules=MAP *.test 127.0.0.1"
CHUNK = 25
REFUSED = 403
METHODS = ("get", "post", "put", "patch", "delete")
SOCKETS = ("/api/events/in", "/api/events/out", "/api/logs/out", "/api/task_runs/subscriptions/scheduled")
PAGES = ("/", "/characters", "/gates", "/runs", "/deployments", "/settings", "/login")

FETCH = """
(calls) => Promise.all(calls.map(async ([url, options]) => {
  try {
    const answer = await fetch(url, {...options, signal: AbortSignal.timeout(20000)});
    return [answer.type, answer.status];
  } catch (error) { return ["refused", 0]; }
}))
"""
FORMS = """
(calls) => Promise.all(calls.map(([url, body], number) => new Promise((done) => {
  const frame = document.createElement("iframe");
  frame.name = "frame" + number + Math.random();
  document.body.append(frame);
  const form = document.createElement("form");
  Object.assign(form, {action: url, method: "POST", enctype: "text/plain", target: frame.name});
  const field = document.createElement("input");
  field.name = body; field.value = "";
  form.append(field); document.body.append(form);
  const end = () => { frame.remove(); form.remove(); done("sent"); };
  frame.onload = end; setTimeout(end, 20000);
  form.submit();
})))
"""
EMBED = """
(calls) => Promise.all(calls.map(([tag, url]) => new Promise((done) => {
  const one = document.createElement(tag);
  const end = () => { one.remove(); done("asked"); };
  one.onload = end; one.onerror = end; setTimeout(end, 20000);
  if (tag === "link") { one.rel = "stylesheet"; one.href = url; }
  else if (tag === "object") { one.data = url; }
  else { one.src = url; }
  document.body.append(one);
})))
"""
LISTEN = """
(urls) => Promise.all(urls.map((url) => new Promise((done) => {
  const socket = new WebSocket(url);
  socket.onopen = () => { done("open"); socket.close(); };
  socket.onerror = () => done("refused");
  setTimeout(() => done("refused"), 20000);
})))
"""


@dataclass
class Door:
    """A server with everything it says it has."""

    url: str
    calls: list[tuple[str, str]]
    """Methods and paths, places in them filled in."""


@dataclass
class Tally:
    calls: int = 0
    accepted: int = 0
    refused: int = 0
    """Answers by which a server refused: what the browser kept back itself never got there."""
    seen: list[str] = field(default_factory=list)

    def count(self, sent: Sequence[object], outcomes: Sequence[object], good: Sequence[object]) -> None:
        self.calls += len(sent)
        for one, outcome in zip(sent, outcomes, strict=True):
            if outcome not in good:
                self.accepted += 1
                self.seen.append(f"{one}: {outcome}")


def doors_of(schema: Json, places: dict[str, str]) -> list[tuple[str, str]]:
    """Every method and path of an API's description."""
    paths = cast("dict[str, dict[str, Json]]", cast("dict[str, Json]", schema)["paths"])
    return [
        (method.upper(), re.sub(r"{(\w+)(:\w+)?}", lambda place: places.get(place[1], "0" * 8), path))
        for path, methods in paths.items()
        for method in methods
        if method in METHODS
    ]


def attack(page: Page, door: Door, tally: Tally) -> None:
    """All that a page can do to a server."""
    refused = (["refused", 0], ["opaque", 0], ["basic", 403], ["cors", 403])
    body = json.dumps({"state": {"type": "SCHEDULED"}, "verdict": "approve", "run_input": {"verdict": "approve"}})
    calls: list[list[object]] = []
    for method, path in door.calls:
        url, content = door.url + path, {} if method == "GET" else {"body": body}
        calls.append([url, {"method": method, "headers": {"content-type": "application/json"}, **content}])
        calls.append([url, {"method": method, "credentials": "include", **content}])
        if method in ("GET", "POST"):
            calls.append([url, {"method": method, "mode": "no-cors", "credentials": "include", **content}])
    for start in range(0, len(calls), CHUNK):
        some = calls[start : start + CHUNK]
        tally.count(some, page.evaluate(FETCH, some), refused)
    forms = [[door.url + path, body] for method, path in door.calls if method == "POST"]
    tags = ("img", "script", "link", "iframe", "object", "embed")
    reads = [door.url + path for method, path in door.calls if method == "GET"] + [door.url + path for path in PAGES]
    embeds = [[tags[number % len(tags)], url] for number, url in enumerate(reads)]
    embeds += [["iframe", door.url + path] for path in PAGES]
    for script, some_calls, good in ((FORMS, forms, "sent"), (EMBED, embeds, "asked")):
        for start in range(0, len(some_calls), CHUNK):
            some_of = some_calls[start : start + CHUNK]
            tally.count(some_of, page.evaluate(script, some_of), (good,))
    sockets = [door.url.replace("http", "ws", 1) + path for path in SOCKETS]
    tally.count(sockets, page.evaluate(LISTEN, sockets), ("refused",))


def measure(running: Running) -> Row:
    """Attacks a running workspace from every kind of page."""
    services = load_services(running.settings)
    assert services is not None
    running.add_character("mira")
    run = running.schedule("mira")
    gate = "mira-t1-gate-a-r1"
    running.wait_gate(gate, 600)
    prefect = services.api_url.removesuffix("/api")
    deployment = str(cast("dict[str, Json]", running.api.call("GET", "/deployments/name/flywheel-1/turn"))["id"])
    image = Reviews(running.store).images(Reviews(running.store).get(gate))[0].digest
    places = {"id": run, "flow_run_id": run, "name": "mira", "gate": gate, "digest": image, "image": image}
    schema = httpx.get(f"{prefect}/api/openapi.json", timeout=60)
    if schema.status_code != 200:
        schema = httpx.get(f"{prefect}/openapi.json", timeout=60)
    calls = doors_of(schema.json(), places)
    calls = [(method, path if path.startswith("/api") else f"/api{path}") for method, path in calls]
    for method, path in list(calls):
        if f"/{run}" in path and path.startswith("/api/deployments"):
            calls.append((method, path.replace(run, deployment)))
    studio_schema = cast(Json, create_app(running.settings, None).openapi())
    doors = [Door(prefect, calls), Door(services.studio_url, doors_of(studio_schema, places))]
    before = standing(running, services.studio_url)
    tally = Tally()
    with other_site() as port, sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, NAMES])
        for door in doors:
            own = door.url.rpartition(":")[2]
            for site in (
                f"http://127.0.0.1:{port}/",
                f"http://evil.test:{port}/",
                f"http://evil.test:{port}/sandbox",
                f"http://evil.test:{own}/",
            ):
                bent = site.endswith(f":{own}/")
                used = Door(site.rstrip("/"), door.calls) if bent else door
                with browser.new_context() as context:
                    page = context.new_page()
                    watch(page, used.url, tally)
                    page.goto(site)
                    attack(page, used, tally)
                print(f"{site} against {door.url}: {tally.calls} calls, {tally.accepted} accepted", flush=True)
        browser.close()
    after = standing(running, services.studio_url)
    if after != before:
        tally.accepted += 1
        tally.seen.append(f"before {before}, after {after}")
    for line in tally.seen[:40]:
        print(line[:300], flush=True)
    return {
        "case": "foreign_page",
        "calls": tally.calls,
        "refused_by_the_server": tally.refused,
        "accepted": tally.accepted,
        "addresses": sum(len(d.calls) for d in doors),
    }


def watch(page: Page, url: str, tally: Tally) -> None:
    """The browser hides answers from the page; here the server's own words count. Even "not found" would mean that it listened."""

    def look(answer: Response) -> None:
        if answer.url.startswith(url) and answer.status == REFUSED:
            tally.refused += 1
        elif answer.url.startswith(url):
            tally.accepted += 1
            tally.seen.append(f"{answer.request.method} {answer.url}: {answer.status}")

    page.on("response", look)


def standing(running: Running, studio: str) -> dict[str, Json]:
    """What a page might have changed."""
    found: dict[str, Json] = {}
    for kind in ("flow_runs", "deployments", "flows", "work_pools", "variables", "block_documents", "automations"):
        found[kind] = running.api.call("POST", f"/{kind}/count", {})
    found["states"] = sorted(f"{run.id} {run.state.type if run.state else ''}" for run in running.api.runs())
    reviews = Reviews(running.store)
    found["decisions"] = {gate: len(list(reviews.journal(gate).read())) for gate in reviews.gates()}
    found["characters"] = list(Library(running.store).characters())
    found["session"] = httpx.get(f"{studio}/api/v1/session").status_code
    return found


@contextmanager
def other_site() -> Iterator[int]:
    """Another web server of this machine: the port of an empty page, and of one whose origin is hidden by a sandbox."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            if self.path == "/sandbox":
                self.send_header("Content-Security-Policy", "sandbox allow-scripts allow-forms")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flenwheel-page-") as place:
        folder = Path(place)
        settings = Settings(
            workspace=folder / "workspace",
            gpu="cpu",
            author="benchmark",
            stage_modules=("benchmarks.kit.turn_stages",),
            models=folder / "models",
        )
        running = Running(settings, write_recipe(folder), patience_seconds=60)
        running.start()
        try:
            row = measure(running)
        finally:
            running.stop()
    print(row)
    print(merge_rows([row], folder=arguments.out))
    return 1 if row["accepted"] else 0


if __name__ == "__main__":
    sys.exit(main())
