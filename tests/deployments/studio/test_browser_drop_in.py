"""A character made by dropping pictures, without the command line; the pictures are read in a real child process."""

import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route

from deployments.studio.app import create_app
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Labels
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.store import Store
from tests.kit.browser import Reviewer, free_port, until
from tests.kit.gate_world import draw, settings_in
from tests.kit.studio_world import Server

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose ingest computes next to nothing."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    return settings_in(tmp_path, stage_modules=("benchmarks.kit.turn_stages",), gpu="cpu")


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
        reviewer.see("#drop-notes", "broken.png: not taken.")
        page.set_input_files("#files", [files(12)[10]])  # type: ignore[list-item]
        page.wait_for_selector("text=Ready for a turn", timeout=90_000)
        page.click("#start-turn button")
        reviewer.see("#turn-state", "in the queue")
        assert reviewer.complaints == []


@pytest.mark.parametrize(("path", "scripts"), [("/characters", ["drop"]), ("/characters/nova", ["drop", "framing"])])
def test_a_button_pressed_before_the_scripts_are_there_loses_nothing(
    chromium: Browser, address: str, stand_in: Settings, path: str, scripts: list[str]
) -> None:
    """A form that a script sends would load its page again when it is sent without it."""
    Library(Store(stand_in.store_url)).create_character(
        Character(name="nova", trigger="ohwx_nova", class_word="person", kind="person", recipe="nano")
    )
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    with chromium.new_context() as context:
        page = context.new_page()
        for script in scripts:
            page.route(f"**/{script}.js", hold)
        page.goto(f"{address}{path}", wait_until="commit")
        buttons = page.locator("[data-waits]")
        buttons.last.wait_for()
        assert buttons.count() == len(scripts) and not any(one.is_enabled() for one in buttons.all())
        assert page.locator("form:not([action]):not([method]):visible button:enabled:not([type=button])").count() == 0
        for route in held:
            route.continue_()
        until(lambda: all(one.is_enabled() for one in buttons.all()), "buttons that can be pressed")


def drop(context: BrowserContext, page: Page, *paths: Path) -> None:
    """Drops real files and folders from this machine, as a file manager does."""
    box = page.locator("#drop").bounding_box()
    assert box is not None
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = context.new_cdp_session(page)
    for event in ("dragEnter", "dragOver", "drop"):
        place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        session.send("Input.dispatchDragEvent", {"type": event, **place, "data": data})


def test_dropped_folders_are_walked_and_one_refusal_stops_nothing(
    chromium: Browser, address: str, stand_in: Settings, tmp_path: Path
) -> None:
    library = Library(Store(stand_in.store_url))
    library.create_character(
        Character(name="nova", trigger="ohwx_nova", class_word="person", kind="person", recipe="nano")
    )
    for number, found in enumerate(files(12)):
        folder = tmp_path / "drop" / ("a" if number < 6 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        data = found["buffer"]
        assert isinstance(data, bytes)
        (folder / f"{number % 6:02}.png").write_bytes(data)
    (tmp_path / "drop/a/00.TXT").write_bytes("in the park’s shade".encode("utf-16"))
    (tmp_path / "drop/b/metadata.csv").write_text("file_name,text\n00.png,at sea\n")
    Image.new("L", (64, 64), 255).save(tmp_path / "drop/a/00-masklabel.png")
    with (tmp_path / "drop/a/01-masklabel.png").open("wb") as large:
        large.truncate(9 * 2**20)
    (tmp_path / "drop/a/03b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    with (tmp_path / "drop/a/04b.png").open("wb") as large:
        large.truncate(85 * 2**20)
    (tmp_path / "drop/a/05b.jpg").write_bytes(b"no picture")
    (tmp_path / "drop/reg").mkdir()
    (tmp_path / "drop/reg/1.png").write_bytes((tmp_path / "drop/a/00.png").read_bytes())
    with chromium.new_context(viewport={"width": 1440, "height": 900}) as context:
        reviewer = Reviewer(context, address)
        reviewer.page.goto(f"{address}/characters/nova")
        drop(context, reviewer.page, tmp_path / "drop")
        reviewer.page.wait_for_selector("[data-testid=ingest-summary]", timeout=120_000)
        assert "12 usable sources" in reviewer.text("[data-testid=ingest-summary]")
        reviewer.page.wait_for_selector("#drop-notes li")
        said = reviewer.text("#drop-notes")
        for part in (
            "drop/a/03b.heic: not taken. 03b.heic is a HEIC picture",
            "drop/a/04b.png: not taken. It is larger than 64 MiB.",
            "01-masklabel.png: not taken. A mask may have 8 MiB; drop/a/01.png is taken without it.",
            "drop/a/05b.jpg: not taken. 05b.jpg is no picture",
            "drop/reg/1.png: left out: class pictures",
        ):
            assert part in said, said
        assert reviewer.complaints == []
    captions = {source.name: source.caption for source in library.sources("nova")}
    assert len(captions) == 12
    assert [source.name for source in library.sources("nova") if source.mask] == ["drop/a/00.png"]
    assert captions["drop/a/00.png"] == "in the park’s shade" and captions["drop/b/00.png"] == "at sea"
