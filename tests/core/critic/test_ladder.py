"""The ladder: which rung is used, on what it is tried, and the character's own correction."""

import numpy as np
import pytest

from flenwheel_core.critic.ladder import train_critic
from flenwheel_core.critic.rungs import RUNGS, ask, fit_rung, pulls, split
from flenwheel_core.documents.critics import Critic, CriticLesson, RungName
from flenwheel_core.documents.decisions import Verdict
from tests.kit.critic_world import eyes, lessons, pictures

RECORD = "0" * 64


def used(critic: Critic) -> dict[RungName, bool]:
    return {score.rung: score.used for score in critic.ladder}


def test_what_screening_knows_is_used_where_the_reviewer_follows_it() -> None:
    critic = train_critic(lessons(240), {}, record=RECORD).critic
    assert critic.rung == "screening" and critic.held_out == "turns" and critic.count == 240 and critic.turns == 4
    by_name = {score.rung: score for score in critic.ladder}
    assert by_name["screening"].gain is not None and by_name["screening"].gain > 0.2
    assert (by_name["screening"].gain_low or 0) > 0 and (by_name["screening"].p_value or 1) < 0.05
    assert by_name["embedding"].log_loss is None and not by_name["embedding"].used
    assert by_name["vision"].why == "no vision model has learned these verdicts"


def test_verdicts_by_chance_use_no_rung_above_the_base_rate() -> None:
    random = np.random.default_rng(3)
    some = [one.model_copy(update={"verdict": random.choice(list(Verdict))}) for one in lessons(240)]
    critic = train_critic(some, eyes(some), record=RECORD).critic
    assert critic.rung == "base_rate"
    assert not any(yes for name, yes in used(critic).items() if name != "base_rate")


def test_embeddings_are_used_where_screening_knows_nothing_of_what_matters() -> None:
    blind = [one.model_copy(update={"screening": None}) for one in lessons(240)]
    critic = train_critic(blind, eyes(lessons(240)), record=RECORD, verifier=("subject", "test")).critic
    assert used(critic)["embedding"] and critic.verifier_version == "test"


def test_a_vision_model_is_one_more_rung() -> None:
    """Whoever gives each lesson log-odds of a model that had not learned it has plugged in the next rung."""
    right = {Verdict.REJECT: (4.0, 1.0), Verdict.NEEDS_CORRECTION: (1.0, 4.0), Verdict.GOOD: (-4.0, -3.0)}
    told = [one.model_copy(update={"vision": right[one.verdict]}) for one in lessons(120)]
    critic = train_critic(told, {}, record=RECORD).critic
    assert used(critic)["vision"] and critic.rung in ("vision", "stacked")
    assert {score.rung: score.log_loss for score in critic.ladder}["vision"] == pytest.approx(0, abs=0.3)


def test_one_turn_is_tried_on_sources_and_promises_nothing() -> None:
    critic = train_critic(lessons(80, turns=1), {}, record=RECORD).critic
    assert critic.held_out == "sources" and critic.calibrations == ()


@pytest.mark.parametrize("count", [0, 5])
def test_few_verdicts_leave_the_base_rate(count: int) -> None:
    learned = train_critic(lessons(count), {}, record=RECORD)
    assert learned.critic.rung == "base_rate" and learned.critic.held_out == "nothing" and learned.chances is None


def test_the_same_verdicts_make_the_same_critic() -> None:
    some = lessons(100)
    assert train_critic(some, eyes(some), record=RECORD).critic == train_critic(some, eyes(some), record=RECORD).critic


def test_held_out_turns_are_not_learned() -> None:
    """A picture's own verdict must not reach its held-out chance: turned round, the chance stays."""
    some = lessons(120)
    turned = [_turned(one) if one.turn == 2 else one for one in some]
    ladder = (RUNGS["screening"],)
    first, second = (train_critic(which, {}, record=RECORD, ladder=ladder) for which in (some, turned))
    there = [index for index, one in enumerate(some) if one.turn == 2]
    assert first.chances is not None and second.chances is not None
    assert np.allclose(first.chances[there], second.chances[there])
    assert not np.allclose(first.chances, second.chances)


def _turned(one: CriticLesson) -> CriticLesson:
    return one.model_copy(update={"verdict": Verdict.REJECT if one.verdict is Verdict.GOOD else Verdict.GOOD})


def test_a_character_with_few_verdicts_is_shrunk_towards_the_others() -> None:
    many, few = lessons(160), lessons(8, character="rex", seed=1)
    harsh = [one.model_copy(update={"verdict": Verdict.REJECT}) for one in few]
    fitted = fit_rung(RUNGS["base_rate"], [*many, *harsh], {}, [one.image for one in (*many, *harsh)])
    mira, rex, new = ask(fitted, [many[0], harsh[0], harsh[0].model_copy(update={"character": "new"})], {})[:, 0]
    share = sum(one.verdict is Verdict.REJECT for one in many) / len(many)
    assert mira == pytest.approx(share, abs=0.05) and share < rex < 0.95
    assert mira - 0.01 < new < rex


def test_reasons_are_learned_where_they_were_given_often() -> None:
    critic = train_critic(lessons(240), {}, record=RECORD).critic
    assert {one.reason for one in critic.reasons} == {"background", "identity"}
    beach = next(
        one for one in pictures(50, 9) if one.screening is not None and one.screening.read.background == "beach"
    )
    likely = {one.reason: ask(one.fitted, [beach], {})[0, 2] for one in critic.reasons}
    assert likely["background"] > 0.5 > likely["identity"]


def test_what_pulls_a_picture_down_is_named() -> None:
    critic = train_critic(lessons(240), {}, record=RECORD).critic
    beach = next(
        one for one in pictures(50, 9) if one.screening is not None and one.screening.read.background == "beach"
    )
    assert "background beach" in pulls(critic.fitted, [beach], {})[0]


def test_groups_stay_whole() -> None:
    groups = ["a"] * 5 + ["b"] * 3 + ["c"] * 3 + ["d"]
    folds = split(groups, 2)
    assert all(len({int(fold) for fold, name in zip(folds, groups, strict=True) if name == one}) == 1 for one in "abcd")
    assert sorted(np.bincount(folds).tolist()) == [6, 6]
