"""A person sees how a picture of two people was framed, and changes it: in a real browser, on real photographs."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page

from deployments.studio.app import create_app
from deployments.studio.drop_in import IngestAsked
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.framings import Box, Framing
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.ingest import IngestRequest
from flenwheel_core.stages.ingest import ingest
from tests.kit.browser import Reviewer, free_port, until
from tests.kit.faces import astronaut, beside, hopper, views
from tests.kit.stage_world import context, source_file
from tests.kit.studio_world import Server

pytestmark = pytest.mark.slow
EILEEN = Character(name="eileen", trigger="ohwx_char", class_word="person", kind="person", recipe="nano")


@pytest.fixture
def address(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """A studio in which four pictures of one person, and one of two, were read."""
    stage = context(settings.model_copy(update={"models": tmp_path / "models", "threads": 1}))
    library = Library(stage.store)
    library.create_character(EILEEN)
    pictures = [*views(astronaut(), 3), beside(views(astronaut(), 1, seed=4)[0], hopper().crop((0, 0, 512, 512)))]
    files = tuple(source_file(stage, image, f"photo {index}.png") for index, image in enumerate(pictures))
    library.add_sources("eileen", files)
    recipe = IngestRecipe(duplicate_bits=0, minimum_images=4, minimum_angles=1)
    request = IngestRequest(character=EILEEN.ref(), files=library.sources("eileen"), recipe=recipe, verifier="face")
    stage.store.put_request(request)
    stage.store.put_result(request, ingest(request, stage))
    asked = stage.store.journal("characters/eileen/ingests", IngestAsked)
    asked.append(IngestAsked(at=datetime.now(UTC), request=request.key()))
    port = free_port()
    running = uvicorn.Server(uvicorn.Config(create_app(settings, Server()), port=port, log_level="warning"))
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: running.started, "the studio")
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join()


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Over the picture of the dialog, in shares of it."""
    at = page.locator("#framing-stage svg").bounding_box()
    assert at is not None
    page.mouse.move(at["x"] + start[0] * at["width"], at["y"] + start[1] * at["height"])
    page.mouse.down()
    page.mouse.move(at["x"] + end[0] * at["width"], at["y"] + end[1] * at["height"], steps=4)
    page.mouse.up()


def near(box: Box, *sides: float) -> bool:
    return all(
        abs(one - other) < 0.02 for one, other in zip((box.left, box.top, box.right, box.bottom), sides, strict=True)
    )


def test_a_person_sees_and_changes_how_a_picture_of_two_is_framed(
    chromium: Browser, address: str, settings: Settings
) -> None:
    library = Library(context(settings).store)
    both = library.sources("eileen")[-1].digest
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as browser:
        reviewer = Reviewer(browser, address)
        page = reviewer.page
        page.goto(f"{address}/characters/eileen")
        assert "2 people, cut" in page.inner_text(f'[data-note="{both}"]')
        page.fill("#consent-form [name=whose]", "my own")
        page.click("#consent-form button")
        reviewer.see("[data-testid=consent]", "The face is my own. ana vouches")
        opener = f'.frame[data-digest="{both}"]'
        page.click(opener)
        page.wait_for_selector("#framing-dialog[open]")
        assert page.locator("#framing-stage .face").count() == 2
        assert page.locator("#framing-stage .face.chosen").count() == 1
        reviewer.see("#framing-state", "Framed by the program")
        assert float(page.input_value("#framing-form [name=right]")) < 60
        page.check("#framing-form [value=hide]")
        drag(page, (0.05, 0.7), (0.25, 0.95))
        reviewer.see("#framing-state", "Hidden parts: 1")
        page.fill("#framing-form [name=right]", "45")
        page.press("#framing-form [name=right]", "Tab")
        page.click("#framing-form button.primary")
        reviewer.see(f'[data-note="{both}"]', "framed by you")
        said = library.sources("eileen")[-1].framing
        assert said is not None and said.crop is not None and near(said.crop, 0, 0, 0.45, 1)
        assert len(said.hidden) == 1 and near(said.hidden[0], 0.05, 0.7, 0.25, 0.95)
        page.reload()
        page.click(opener)
        reviewer.see("#framing-state", "Framed by you. Cut. Hidden parts: 1.")
        page.click("#framing-hidden button")
        page.check("#framing-form [value=cut]")
        drag(page, (0.5, 0.02), (0.98, 0.9))
        page.click("#framing-form button.primary")
        until(lambda: page.locator("#framing-dialog[open]").count() == 0, "closed")
        said = library.sources("eileen")[-1].framing
        assert said is not None and said.crop is not None and near(said.crop, 0.5, 0.02, 0.98, 0.9) and not said.hidden
        page.click(opener)
        page.click("#framing-whole")
        page.click("#framing-form button.primary")
        until(lambda: library.sources("eileen")[-1].framing == Framing(), "learned whole")
        page.click(opener)
        page.click("#framing-forget")
        until(lambda: library.sources("eileen")[-1].framing is None, "taken back")
        assert reviewer.complaints == []
