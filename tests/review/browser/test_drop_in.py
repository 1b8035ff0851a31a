"""A character made by dropping pictures, without the command line; the pictures are read in a real child process."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser

from flenwheel_core.domain.images import Labels
from flenwheel_core.library import Library
from flenwheel_core.review.web.app import create_app
from flenwheel_core.settings import Settings
from flenwheel_core.store import Store
from tests.review.browser.conftest import Reviewer, free_port, until
from tests.review.web.test_gate_api import Server
from tests.review.world import draw, settings_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose ingest computes next to nothing."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    return settings_in(tmp_path, stage_modules=("tests.turn_stages",), gpu="cpu")


@pytest.fixture
def address(stand_in: Settings) -> Iterator[str]:
    port = free_port()
    running = uvicorn.Server(uvicorn.Config(create_app(stand_in, Server()), port=port, log_level="warning"))
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: running.started, "the studio")
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join()


def files(number: int) -> list[dict[str, object]]:
    found = []
    for index in range(number):
        buffer = io.BytesIO()
        draw(Labels(), index, 64).save(buffer, "PNG")
        found.append({"name": f"photo {index}.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    return found


def test_from_dropped_pictures_to_a_started_turn(chromium: Browser, address: str, stand_in: Settings) -> None:
    with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
        reviewer = Reviewer(context, address)
        page = reviewer.page
        page.goto(f"{address}/characters")
        page.fill("[name=name]", "nova")
        page.select_option("[name=recipe]", "nano")
        caption = {"name": "photo 0.txt", "mimeType": "text/plain", "buffer": b"a photo in the park\n"}
        broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no picture"}
        page.set_input_files("#files", [*files(9), caption, broken])  # type: ignore[list-item]
        reviewer.see("#chosen", "10 pictures, 1 captions chosen")
        page.click("#new-character button.primary")
        page.wait_for_url("**/characters/nova", timeout=60_000)
        page.wait_for_selector("[data-testid=ingest-summary]", timeout=90_000)
        assert "9 usable sources" in page.inner_text("[data-testid=ingest-summary]")
        assert "Missing: 10 usable pictures" in page.inner_text("#ingest-report")
        sources = Library(Store(stand_in.store_url)).sources("nova")
        assert len(sources) == 9 and sources[0].caption == "a photo in the park"
        page.set_input_files("#files", [files(12)[10]])  # type: ignore[list-item]
        page.wait_for_selector("text=Ready for a turn", timeout=90_000)
        page.click("#start-turn button")
        reviewer.see("#turn-state", "in the queue")
        assert reviewer.complaints == []
