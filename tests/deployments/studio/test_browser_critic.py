"""The critic on the page of a gate, in a real browser."""

import pytest

from flenwheel_core.critic.knowledge import judgeables
from flenwheel_core.critic.ladder import train_critic
from flenwheel_core.critic.order import Known, Rules, Wanted, view_gate
from flenwheel_core.documents.critics import CriticView
from flenwheel_core.gates.session import ReviewSession
from tests.kit.browser import Reviewer, Studio
from tests.kit.critic_world import lessons

pytestmark = pytest.mark.slow
GATE = "mira-t2-gate-a-r1"


@pytest.fixture
def view(studio: Studio) -> CriticView:
    """The gate of six pictures again, in turn 2, with a critic that may reject."""
    reviews, store = studio.reviews, studio.reviews.store
    pictures = list(
        judgeables(
            reviews.images(studio.session),
            reviews.screenings(studio.session),
            character="mira",
            kind="enriched",
            threshold=0.3,
        )
    )
    known = Known("1" * 64, train_critic(lessons(240), {}, record="0" * 64).critic)
    found = view_gate(GATE, pictures, {}, known, known, Rules(wanted=Wanted(0.05), rejects=True))
    more = {"gate": GATE, "turn": 2, "critic": store.put_blob(found.to_bytes())}
    reviews.open(ReviewSession.model_validate({**studio.session.model_dump(), **more}))
    return found


def test_the_gate_opens_in_the_critics_order_and_says_why(studio: Studio, reviewer: Reviewer, view: CriticView) -> None:
    shown = sorted((one for one in view.pictures if not one.set_aside), key=lambda one: one.useful_place)
    assert 0 < len(shown) < 6, "some are set aside"
    reviewer.open(GATE)
    assert view.said in reviewer.text("[data-testid=critic-line]")
    assert reviewer.shown == shown[0].image
    reviewer.see("#facts", shown[0].why)
    reviewer.see("#facts", "good")
    reviewer.see("#position", f"1 / {len(shown)}")


def test_as_made_is_one_choice_away_and_stays_chosen(studio: Studio, reviewer: Reviewer, view: CriticView) -> None:
    made = [one.image for one in view.pictures if not one.set_aside]
    reviewer.open(GATE)
    reviewer.page.select_option("#sort", "gate")
    reviewer.open(GATE)
    assert reviewer.shown == made[0]
    reviewer.page.select_option("#sort", "likely")
    reviewer.open(GATE)
    best = min((one for one in view.pictures if not one.set_aside), key=lambda one: one.good_place)
    assert reviewer.shown == best.image


def test_what_was_set_aside_can_be_looked_at_and_decided(studio: Studio, reviewer: Reviewer, view: CriticView) -> None:
    aside = [one.image for one in view.pictures if one.set_aside]
    reviewer.open(GATE)
    reviewer.see("#tally", f"{len(aside)} set aside by the critic")
    reviewer.page.select_option("#filter-verdict", "aside")
    reviewer.see("#position", f"/ {len(aside)}")
    chosen = reviewer.shown
    assert chosen in aside
    reviewer.page.locator("#sort").blur()
    reviewer.page.locator("#filter-verdict").blur()
    reviewer.press("g")
    reviewer.saved()
    assert studio.reviews.current(GATE)[chosen].verdict == "good"
