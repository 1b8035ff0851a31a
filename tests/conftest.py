"""Fixtures that many tests share."""

import gc
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flenwheel_core.base.settings import Settings
from tests.kit.order import longest_first

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
# Names of other sites, which point at this machine.
CHROMIUM_FLAGS.append("--host-resolver-rules=MAP *.test 127.0.0.1")


def pytest_collection_finish() -> None:
    """What was imported stays. Looking for garbage among it takes a second, whenever a stage gives memory back."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = longest_first(items)


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """One headless Chromium for the tests of a file. Playwright's event loop runs in this thread as long as it is open,
    and other tests of the process could start none: so it ends with the file."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path is not None, "install Debian's chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def other_site() -> Iterator[int]:
    """Another web server of this machine: the port of an empty page, open to everybody."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    found = ThreadingHTTPServer(("127.0.0.1", 0), Empty)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found.server_port
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An object store: it speaks the S3 protocol over HTTP on loopback, and keeps what such a store promises."""
    from tests.kit.s3_server import serve_s3

    with serve_s3() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of a Prefect server, made once for all processes of this run. `test_installed.py` and the kills of
    `test_chaos.py` go without it: there servers make their own, as a user's first one does."""
    from benchmarks.kit.prefect_database import empty_database

    base = tmp_path_factory.getbasetemp()
    return empty_database(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="session", autouse=True)
def _models_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test fetches is kept with the test, never in the user's folder, where the next run of the tests would find it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLENWHEEL_MODELS", str(tmp_path_factory.mktemp("models")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _disks_are_not_waited_for() -> Iterator[None]:
    """What a test writes need not outlive a power cut. Each wait for the disk takes some milliseconds in which the core has nothing to do,
    and a gate with twelve pictures is a hundred of them. Processes that a test starts wait as ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses what is no open file, too
        yield


@pytest.fixture(scope="session")
def _shipped_with_siblings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.kit.siblings import shipped_with_siblings

    return shipped_with_siblings(tmp_path_factory.mktemp("siblings"))


@pytest.fixture
def siblings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Nano klein and nano Z-Image are here: those that were trained (True), or random ones in their place, within this process."""
    from flenwheel_core.models import embedded

    trained = embedded.is_shipped_here("klein")
    if not trained:
        monkeypatch.setattr(embedded, "SHIPPED", request.getfixturevalue("_shipped_with_siblings"))
    return trained


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a fresh workspace without a card; nothing from the machine's own environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    folders = {"workspace": tmp_path / "workspace", "models": tmp_path / "models"}
    nano = Settings().models / "nano"  # shipped models are unpacked once for all tests
    nano.mkdir(exist_ok=True)
    folders["models"].mkdir()
    (folders["models"] / "nano").symlink_to(nano)
    return Settings(**folders, gpu="cpu", author="tester", stage_modules=("tests.kit.stages",))
