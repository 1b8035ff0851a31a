"""What a gate tells of a training, in a real browser: a doubtful picture is left out, another state is taken."""

import pytest

from flenwheel_core.gates.session import ReviewSession
from flenwheel_core.library.characters import Library
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.doubts import Doubts
from tests.kit.browser import Reviewer, Studio, until
from tests.kit.training_findings import evidence

pytestmark = pytest.mark.slow
GATE = "mira-t1-gate-b-r1"


def test_a_person_decides_on_the_page(studio: Studio, reviewer: Reviewer) -> None:
    reviews, store = studio.reviews, studio.reviews.store
    image = Library(store).pool("mira")[0].image.digest
    more = {"gate": GATE, "evidence": evidence(store, image)}
    reviews.open(ReviewSession.model_validate({**studio.session.model_dump(), **more}))
    reviewer.open(GATE)
    page = reviewer.page
    assert "12% of what the base got wrong" in page.inner_text("#evidence .doubt")
    page.click('#evidence [data-keep="no"]')
    until(lambda: image in Doubts(store, "mira").left_out(), "the picture is left out")
    until(lambda: page.get_attribute('#evidence [data-keep="no"]', "aria-pressed") == "true", "the page says so")
    page.select_option("#state", "400 0.8")
    page.click("#take-state")
    request, _ = Choices(store, "mira").find()
    until(lambda: Choices(store, "mira").standing(request.lora).strength == 0.8, "the state is taken")
    until(lambda: "taken by ana" in page.inner_text("#state-said"), "the page says so")
    reviewer.press("g")
    reviewer.saved()
    reviews.close(GATE, "stop", "leave_out", override_minimum=True, reviewer="ana")
    until(lambda: page.is_disabled("#take-state"), "an answered gate offers nothing, also where its page is open")
    assert page.is_disabled('#evidence [data-keep="yes"]') and page.is_visible("#evidence-closed")
    assert not reviewer.complaints
