"""A real headless Chromium and a studio that really listens."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page

from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.store import Store
from tests.kit.gate_world import open_gate
from tests.kit.studio_world import Server

SERVE = """
import sys
from pathlib import Path
import uvicorn
from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings
app = create_app(Settings(workspace=Path(sys.argv[1]), author="ana"), None)
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""


GATE = "mira-t1-gate-a-r1"
SHOWN = """() => {
  const gate = document.getElementById("gate");
  return gate === null || !("showing" in gate.dataset);
}"""
PATIENCE_SECONDS = 120
"""What comes on a machine with nothing else to do within one second may take a minute beside other tests."""


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Waits until a condition holds. Playwright's own wait_for_function needs eval, which the content policy forbids."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.02)


@dataclass
class Reviewer:
    """One person at one browser. Whatever the page complains about fails the test at its end."""

    context: BrowserContext
    address: str
    page: Page = field(init=False)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.set_default_timeout(1000 * PATIENCE_SECONDS)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if "Content Security" in said.text else None
        )

    def open(self, gate: str = GATE) -> None:
        self.page.goto(f"{self.address}/gates/{gate}")
        self.page.wait_for_selector("#gate[data-ready]")

    def press(self, *keys: str) -> None:
        """Presses keys as a person does: each after the picture before it is on the screen."""
        for key in keys:
            self.page.keyboard.press(key)
            until(lambda: self.page.evaluate(SHOWN), "the picture that the key asked for, or why it is not there")

    @property
    def shown(self) -> str:
        return str(self.page.evaluate("document.getElementById('gate').dataset.shown"))

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def saved(self) -> None:
        until(lambda: "✓ saved" in self.text("#save-state"), "saved")

    def see(self, selector: str, text: str) -> None:
        until(lambda: text in self.text(selector), f"{text!r} in {selector}")


@dataclass
class Studio:
    """A studio in this process, the gate it shows, and its flow server."""

    address: str
    session: ReviewSession
    reviews: Reviews
    server: Server

    @property
    def images(self) -> list[str]:
        return [record.digest for record in self.reviews.images(self.session)]

    def verdicts(self) -> list[str | None]:
        current = self.reviews.current(self.session.gate)
        return [current[image].verdict if image in current else None for image in self.images]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    """Six pictures to review, two good ones asked for; a run waits for the answer."""
    store = Store(settings.store_url)
    session = open_gate(store, 6, side=96, minimum=2, flow_run="run-1")
    server, port = Server(), free_port()
    running = uvicorn.Server(uvicorn.Config(create_app(settings, server), port=port, log_level="warning"))
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: running.started, "the studio")
    yield Studio(f"http://127.0.0.1:{port}", session, Reviews(store), server)
    running.should_exit = True
    thread.join()


@pytest.fixture
def reviewer(chromium: Browser, studio: Studio) -> Iterator[Reviewer]:
    with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
        one = Reviewer(context, studio.address)
        yield one
        assert one.complaints == []


class StudioProcess:
    """A studio in a process of its own, to be killed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self._settings.root), str(self.port)]
        self._process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        until(self._answers, "the studio's process")

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.address}/api/v1/session", timeout=2).close()
            return True
        except OSError:
            return False
