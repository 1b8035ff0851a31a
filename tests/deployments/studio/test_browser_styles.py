"""A study and its blind pairs in a real browser."""

import pytest

from flenwheel_core.library.studies import Studies
from tests.kit.browser import Reviewer, Studio, until
from tests.kit.style_world import studied_style

pytestmark = pytest.mark.slow


def test_blind_pairs_are_judged_with_keys_and_counted_on_the_study(studio: Studio, reviewer: Reviewer) -> None:
    store = studio.reviews.store
    key, studies = studied_style(store).key(), Studies(store)
    page = reviewer.page
    page.goto(f"{reviewer.address}/styles/monet/{key}/pairs")
    reviewer.see("#scene", "1 of 18")
    assert "monet-t1" not in page.inner_text("#pair"), "nothing says which way a picture was drawn in"
    shown = page.get_attribute("#first", "src")
    page.keyboard.press("ArrowLeft")
    reviewer.see("#scene", "2 of 18")
    page.keyboard.press("Space")
    reviewer.see("#scene", "3 of 18")
    page.keyboard.press("Backspace")
    reviewer.see("#scene", "2 of 18")
    page.keyboard.press("Backspace")
    reviewer.see("#scene", "1 of 18")
    assert page.get_attribute("#first", "src") == shown, "the pair that was taken back is asked again"
    page.keyboard.press("ArrowRight")
    until(lambda: [line.choice for line in studies.standing(key)] == ["second"], "the verdict")
    page.goto(f"{reviewer.address}/styles/monet/{key}")
    assert page.locator("[data-testid=wins] tbody tr").count() == 1
    assert page.locator("[data-testid=ways] tbody tr").count() == 4
    page.wait_for_selector("svg.chart")
    page.goto(f"{reviewer.address}/characters")
    page.select_option("[name=kind]", "style")
    assert page.input_value("[name=trigger]") == "ohwx_style" and page.input_value("[name=class_word]") == "style"
    assert page.input_value("[name=recipe]") == "flux_style_24gb"
    page.select_option("[name=kind]", "person")
    assert (
        page.input_value("[name=trigger]") == "ohwx_char" and page.input_value("[name=recipe]") == "flux_character_24gb"
    )
