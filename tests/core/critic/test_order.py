"""The order of review: doubtful first, hopeless last, some by lot, and what is set aside."""

import numpy as np
import pytest

from flenwheel_core.critic.audit import AuditedGate, broken_by
from flenwheel_core.critic.calibration import Wanted
from flenwheel_core.critic.ladder import train_critic
from flenwheel_core.critic.order import Known, Rules, lot, view_gate
from flenwheel_core.documents.critics import CriticView
from tests.kit.critic_world import lessons, pictures

GATE = "mira-t5-gate-a-r1"
WANTED = Wanted(0.05)


@pytest.fixture(scope="module")
def known() -> Known:
    return Known("1" * 64, train_critic(lessons(240), {}, record="0" * 64).critic)


def view(known: Known | None, count: int = 60, **rules: object) -> CriticView:
    return view_gate(GATE, pictures(count, 7), {}, known, known, Rules(wanted=WANTED, **rules))  # type: ignore[arg-type]


def test_every_picture_has_one_place_in_each_order(known: Known) -> None:
    found = view(known)
    for order in ("useful_place", "good_place"):
        assert sorted(getattr(one, order) for one in found.pictures) == list(range(60))


def test_the_doubtful_come_first_and_the_hopeless_last(known: Known) -> None:
    rows = [one for one in sorted(view(known).pictures, key=lambda one: one.useful_place) if not one.by_lot]
    hopeless = [one.says_reject for one in rows]
    assert any(hopeless) and hopeless == sorted(hopeless)
    good = np.array([one.chances[2] for one in rows if one.chances])
    assert np.abs(good[:8] - 0.5).mean() < np.abs(good[8:] - 0.5).mean()
    assert "doubtful" in rows[0].why and "hopeless" in rows[-1].why


def test_the_other_order_finds_good_ones_soonest(known: Known) -> None:
    rows = sorted(view(known).pictures, key=lambda one: one.good_place)
    rows = [one for one in rows if not one.by_lot and not one.says_reject]  # what is hopeless stands last in any order
    good = [one.chances[2] for one in rows if one.chances]
    assert good == sorted(good, reverse=True)


def test_a_share_is_drawn_by_lot_and_spread_over_what_is_looked_at(known: Known) -> None:
    found = view(known, 400, random_share=0.2)
    drawn = [one for one in found.pictures if one.by_lot]
    assert 0.14 < len(drawn) / 400 < 0.26
    assert {one.image for one in drawn} == {one.image for one in found.pictures if lot(GATE, one.image) < 0.2}
    looked_at = sum(not one.says_reject or one.by_lot for one in found.pictures)
    places = sorted(one.useful_place for one in drawn)
    assert places[-1] <= looked_at and max(np.diff(places)) < 25
    assert all("by lot" in one.why for one in drawn)


def test_nothing_is_set_aside_unless_it_is_allowed(known: Known) -> None:
    would, does = view(known), view(known, rejects=True)
    assert not would.rejects and not any(one.set_aside for one in would.pictures)
    assert does.rejects and would.look_at == does.look_at < 60
    assert f"Of 60 pictures you would have to look at {would.look_at}; at most" in would.said
    assert "(95 %, " in would.said and "off in the recipe" in would.said
    assert [one.says_reject for one in would.pictures] == [one.says_reject for one in does.pictures]


def test_the_audit_is_never_set_aside(known: Known) -> None:
    found = view(known, 400, rejects=True, audit_share=0.15)
    said = [one for one in found.pictures if one.says_reject]
    assert any(one.audit for one in said)
    assert all(one.set_aside is not one.audit for one in said)
    assert not any(one.set_aside for one in found.pictures if not one.says_reject)
    assert found.look_at == 400 - sum(one.set_aside for one in found.pictures)


def test_without_a_critic_the_sources_take_turns() -> None:
    found = view(None)
    first = sorted((one for one in found.pictures if not one.by_lot), key=lambda one: one.useful_place)[:6]
    sources = {one.image: one.source for one in pictures(60, 7)}
    assert len({sources[one.image] for one in first}) >= 5
    assert found.look_at == 60 and "not learned" in found.said and first[0].chances is None


def test_too_few_good_pictures_are_said_so(known: Known) -> None:
    found = view_gate(GATE, pictures(10, 7), {}, known, known, Rules(wanted=Wanted(0.001)))
    assert found.cut is None and found.look_at == 10 and "of the 2995 held-out good pictures" in found.said


def audited(gate: str, found: int, *, looked: int = 4, good: int = 15) -> AuditedGate:
    return AuditedGate(gate=gate, said_reject=40, audited=looked, audited_good=found, good=good)


def test_good_pictures_in_the_audit_switch_it_off() -> None:
    assert broken_by([audited("a", 0)] * 30, 0.02) == ""
    assert broken_by([audited("a", 0), audited("b", 2)], 0.02).startswith("the audit at b found 2 good among 4")
    spread = [audited(f"g{number}", number % 2) for number in range(8)]
    assert broken_by(spread, 0.02)
    # What once broke the bound is not mended by quiet gates later on.
    assert broken_by([audited("b", 2), *[audited("c", 0)] * 50], 0.02)


def test_a_loss_within_the_bound_seldom_switches_it_off() -> None:
    random = np.random.default_rng(5)
    broken = 0
    for _ in range(200):
        gates = []
        for number in range(6):
            lost = int(random.binomial(16, 0.05))
            gates.append(audited(f"g{number}", int(random.binomial(lost, 0.1)), good=16 - lost))
        broken += bool(broken_by(gates, 0.05))
    assert broken <= 24


def seen(gate: str, low: int, *, good: int = 12, rank: int = 38, known: int = 150) -> AuditedGate:
    return AuditedGate(
        gate=gate, said_reject=10, audited=1, audited_good=0, good=good, seen_good=good, low_good=low, low_rank=rank, low_of=known
    )  # fmt: skip


def test_good_pictures_that_score_low_switch_it_off() -> None:
    """The audit alone needs months where little is rejected; the good ones that are seen tell at once."""
    assert broken_by([seen("a", 3)] * 30, 0.05) == ""
    assert broken_by([seen("a", 3), seen("b", 10)], 0.05).startswith(
        "of 12 good pictures at b, 10 score as low as 38 of 150"
    )
    slow = [seen(f"g{number}", 5) for number in range(12)]
    assert "gates up to g" in broken_by(slow, 0.05)
    # Another limit counts anew, and a gate of before, which kept no score, counts nothing.
    assert broken_by([seen("a", 10, good=30), seen("b", 5, rank=20, known=80)], 0.05) == ""
    assert broken_by([audited("a", 0), seen("b", 3)], 0.05) == ""


def test_the_same_taste_seldom_looks_like_another() -> None:
    random = np.random.default_rng(6)
    broken = 0
    for _ in range(200):
        limit = np.sort(random.random(150))[37]
        gates = [seen(f"g{number}", int((random.random(12) < limit).sum())) for number in range(12)]
        broken += bool(broken_by(gates, 0.05))
    assert broken <= 12


def test_the_view_marks_the_pictures_that_score_low(known: Known) -> None:
    found = view(known, 200)
    assert found.cut is not None and found.cut.low_below is not None and found.cut.low_below > found.cut.below
    low = [one.low for one in found.pictures]
    assert all(one.low for one in found.pictures if one.says_reject) and sum(low) > sum(
        one.says_reject for one in found.pictures
    )
