"""A gate reviewed in a real browser."""

import io

import pytest
from PIL import ImageDraw
from playwright.sync_api import Browser

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture
from tests.kit.browser import Reviewer, Studio, StudioProcess, until
from tests.kit.gate_world import open_gate

pytestmark = pytest.mark.slow


def test_a_whole_gate_by_keyboard_only(reviewer: Reviewer, studio: Studio) -> None:
    page = reviewer.page
    reviewer.open()
    assert reviewer.shown == studio.images[0]
    reviewer.press("g")
    until(lambda: reviewer.shown == studio.images[1], "the next picture after a verdict")
    reviewer.press("x")
    until(lambda: reviewer.shown == studio.images[2], "the third picture")
    reviewer.press("1", "6")
    until(lambda: "reject" in (page.get_attribute("#pane-main", "data-verdict") or ""), "a reason rejects")
    reviewer.press("Space", "c")
    page.focus("#better-prompt")
    page.keyboard.type("turn further left")
    reviewer.press("Escape", "Space", "g", "g", "Control+z", "e")
    until(lambda: page.evaluate("document.activeElement.id") == "caption", "the caption to be written")
    page.keyboard.press("Control+a")
    page.keyboard.type("my own caption")
    reviewer.press("Escape", "g")
    reviewer.saved()
    current = studio.reviews.current(studio.session.gate)
    assert studio.verdicts() == ["good", "reject", "reject", "needs_correction", "good", "good"]
    assert current[studio.images[2]].reasons == ("identity", "artifacts")
    assert current[studio.images[3]].better_prompt == "turn further left"
    assert current[studio.images[5]].caption == "my own caption"
    reviewer.press("f")
    reviewer.see("#finish-body", "Training would get")
    until(lambda: page.is_enabled("#approve"), "enough good pictures")
    page.focus("#approve")
    page.keyboard.press("Enter")
    reviewer.see("#banner", "Answered: approve by ana")
    page.click("a.brand")
    reviewer.see("#live", "Nothing waits for you now")
    assert [outcome.good for outcome in studio.server.resumed] == [3]


def test_views_zoom_and_keys(reviewer: Reviewer, studio: Studio) -> None:
    page = reviewer.page
    reviewer.open()
    before = page.evaluate(
        "[...document.querySelectorAll('.pane .view > img:first-child')].map((i) => i.style.transform + i.style.width)"
    )
    assert len(before) == 2 and before[0] == before[1], "both panes show the same part"
    reviewer.press("z")
    after = page.evaluate(
        "[...document.querySelectorAll('.pane .view > img:first-child')].map((i) => i.style.transform + i.style.width)"
    )
    assert after[0] == after[1] and after != before
    reviewer.press("d")
    assert page.get_attribute("#difference", "aria-pressed") == "true"
    blend = page.evaluate("getComputedStyle(document.querySelector('.overlay')).mixBlendMode")
    assert blend == "difference"
    reviewer.press("d")
    page.keyboard.down("s")
    assert page.evaluate("getComputedStyle(document.querySelector('.overlay')).visibility") == "visible"
    page.keyboard.up("s")
    assert page.evaluate("getComputedStyle(document.querySelector('.overlay')).visibility") == "hidden"
    reviewer.press("b")
    until(
        lambda: page.evaluate("getComputedStyle(document.querySelector('.overlay')).visibility") == "visible", "blink"
    )
    reviewer.press("b", "?")
    page.click("[aria-label='Change the key for: good']")
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    reviewer.press("j")
    reviewer.saved()
    assert studio.verdicts()[0] == Verdict.GOOD
    page.reload()
    page.wait_for_selector("#gate[data-ready]")
    reviewer.press("j")
    reviewer.saved()
    assert studio.verdicts()[:2] == [Verdict.GOOD, Verdict.GOOD], "the choice of keys stays"


def test_the_grid_selects_many_and_bulk_says_how_many(reviewer: Reviewer, studio: Studio) -> None:
    page = reviewer.page
    reviewer.open()
    reviewer.press("v", "Shift+ArrowRight", "Shift+ArrowRight", "g")
    reviewer.saved()
    assert studio.verdicts() == ["good"] * 3 + [None] * 3
    reviewer.press("Control+z")
    reviewer.see("#tally", "0 good")
    reviewer.saved()
    assert studio.verdicts() == [None] * 6, "one undo for what was decided at once"
    reviewer.press("t")
    page.fill("[name=threshold]", "0.6")
    reviewer.see("#bulk-count", "3 of 6 pictures become “reject”")
    page.click("#bulk-apply")
    reviewer.see("#tally", "3 rejected")
    reviewer.saved()
    assert studio.verdicts() == [None] * 3 + ["reject"] * 3
    page.select_option("#filter-verdict", "reject")
    reviewer.see("#grid-count", "3 pictures")
    page.select_option("#filter-verdict", "")
    page.select_option("#sort", "similarity-up")
    first = page.get_attribute(".tile[data-place='0']", "id")
    assert first == f"tile-{studio.images[-1]}"


def test_a_correction_is_uploaded_and_checked(reviewer: Reviewer, studio: Studio) -> None:
    page = reviewer.page
    reviewer.open()
    reviewer.press("c")
    unchanged = studio.reviews.store.get_blob(studio.images[0])
    page.set_input_files("#correction-file", {"name": "same.png", "mimeType": "image/png", "buffer": unchanged})
    reviewer.see("#correction-state", "unchanged")
    image = load_picture(studio.reviews.store, studio.images[0])
    ImageDraw.Draw(image).rectangle([40, 40, 60, 60], fill=(200, 40, 40))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    page.set_input_files("#correction-file", {"name": "mine.png", "mimeType": "image/png", "buffer": buffer.getvalue()})
    reviewer.see("#correction-state", "✓ Kept")
    decision = studio.reviews.current(studio.session.gate)[studio.images[0]]
    assert decision.verdict is Verdict.NEEDS_CORRECTION and decision.correction is not None
    assert load_picture(studio.reviews.store, decision.correction).tobytes() == image.tobytes()


def test_two_reviewers_see_the_conflict_and_settle_it(chromium: Browser, reviewer: Reviewer, studio: Studio) -> None:
    with chromium.new_context(viewport={"width": 1280, "height": 800}) as context:
        other = Reviewer(context, studio.address)
        other.open()
        other.page.click("#author-button")
        other.page.fill("#author-input", "tom")
        other.page.keyboard.press("Enter")
        reviewer.open()
        reviewer.press("g")
        reviewer.saved()
        other.see("#tally", "1 good")
        other.press("x")
        other.saved()
        assert studio.verdicts()[0] is None, "the later reviewer does not win silently"
        other.press("ArrowLeft")
        other.see("#conflict", "ana says good, tom says reject")
        reviewer.press("ArrowLeft")
        reviewer.see("#conflict", "In conflict")
        reviewer.press("g")
        reviewer.saved()
        assert studio.verdicts()[0] is Verdict.GOOD
        other.see("#tally", "1 good")
        studio.reviews.close(
            studio.session.gate, "redo", "leave_out", override_minimum=False, reviewer="Prefect interface"
        )
        other.see("#banner", "Answered: redo by Prefect interface")
        assert other.page.is_disabled("#finish-button")
        assert other.complaints == []


def test_a_server_that_is_down_keeps_the_decisions(reviewer: Reviewer, studio: Studio) -> None:
    page = reviewer.page
    reviewer.open()
    reviewer.press("g", "g")
    reviewer.saved()
    studio.server.down = True
    reviewer.press("f")
    until(lambda: page.is_enabled("#approve"), "enough good pictures")
    page.click("#approve")
    reviewer.see("#finish-state", "Not finished; your decisions are kept")
    studio.server.down = False
    page.click("#approve")
    reviewer.see("#banner", "Answered: approve")
    assert len(studio.server.resumed) == 1


def test_killed_and_started_again_nothing_is_lost(chromium: Browser, settings: Settings) -> None:
    store = Store(settings.store_url)
    session = open_gate(store, 6, side=96)
    process = StudioProcess(settings)
    reviews = Reviews(store)
    images = [record.digest for record in reviews.images(session)]
    with chromium.new_context() as context:
        reviewer = Reviewer(context, process.address)
        try:
            reviewer.open()
            reviewer.press("g", "x")
            reviewer.saved()
            process.kill()
            reviewer.press("g")
            reviewer.see("#save-state", "does not answer")
            reviewer.press("x")
            reviewer.see("#save-state", "2 waiting")
            process.start()
            reviewer.saved()
            current = reviews.current(session.gate)
            assert [current[image].verdict for image in images[:4]] == ["good", "reject", "good", "reject"]
            assert len(list(reviews.journal(session.gate).read())) == 4
            reviewer.page.reload()
            reviewer.page.wait_for_selector("#gate[data-ready]")
            reviewer.press("Backspace", "Backspace", "Backspace")
            reviewer.saved()
            until(lambda: set(reviews.current(session.gate)) == {images[0]}, "undo across the restart")
        finally:
            process.kill()
