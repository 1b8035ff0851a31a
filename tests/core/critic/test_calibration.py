"""The bound on good pictures that are lost: its arithmetic, its groups, and that it holds."""

import numpy as np
import pytest

from flenwheel_core.base.statistics import binomial_tail, upper_limit
from flenwheel_core.critic.calibration import Wanted, allowed_losses, calibrations, cut_for, goods_needed
from flenwheel_core.critic.ladder import train_critic
from flenwheel_core.critic.order import guard_scores
from flenwheel_core.critic.rungs import RUNGS
from flenwheel_core.documents.critics import CriticLesson
from flenwheel_core.documents.decisions import Verdict
from tests.kit.critic_world import lessons


@pytest.mark.parametrize(("goods", "bound"), [(29, 0.10), (59, 0.05), (149, 0.02), (299, 0.01)])
def test_none_lost_of_so_many_proves_the_bound(goods: int, bound: float) -> None:
    assert upper_limit(0, goods) == pytest.approx(1 - 0.05 ** (1 / goods)) and upper_limit(0, goods) <= bound
    assert goods_needed(Wanted(bound)) == goods


def test_the_limit_is_where_so_few_losses_are_one_in_twenty() -> None:
    for lost, goods in ((1, 100), (7, 212), (30, 64)):
        limit = upper_limit(lost, goods)
        assert 1 - binomial_tail(lost + 1, goods, limit) == pytest.approx(0.05, abs=1e-6)
    assert upper_limit(5, 5) == upper_limit(0, 0) == 1.0


def test_how_many_may_be_lost_depends_on_the_number_alone() -> None:
    assert allowed_losses(58, Wanted(0.05)) is None
    assert allowed_losses(59, Wanted(0.05)) == 0
    assert allowed_losses(93, Wanted(0.05)) == 1
    assert upper_limit(1, 93) <= 0.05 < upper_limit(1, 92)


def _scored(character: str, goods: int, *, editor: str = "nano", fair: bool = True) -> list[CriticLesson]:
    one = lessons(1, character=character)[0]
    return [
        one.model_copy(update={"image": f"{index:064x}", "verdict": Verdict.GOOD, "editor": editor, "fair": fair})
        for index in range(goods)
    ]


def test_the_narrowest_group_with_enough_good_pictures_is_taken() -> None:
    learned = train_critic(lessons(240), {}, record="0" * 64)
    many, few, unfair = _scored("mira", 70), _scored("rex", 20), _scored("ada", 90, fair=False)
    every = [*many, *few, *unfair]
    chances = np.random.default_rng(0).dirichlet((1, 1, 1), len(every))
    critic = learned.critic.model_copy(update={"calibrations": calibrations(every, chances)})
    wanted = Wanted(0.05)
    found = {one.character: cut_for(critic, one, wanted) for one in (many[0], few[0], unfair[0])}
    assert [(cut.level, cut.goods) for cut in found.values() if cut] == [("editor", 70), ("stage", 90), ("stage", 90)]
    other_editor = cut_for(critic, many[0].model_copy(update={"editor": "another"}), wanted)
    assert other_editor is not None and other_editor.level == "character"
    assert cut_for(critic, many[0], Wanted(0.01)) is None
    mira = found["mira"]
    assert mira is not None and mira.lost == 0
    assert mira.below == pytest.approx(min(1 - chances[: len(many), 0]))


def test_the_bound_holds_for_pictures_to_come() -> None:
    """Over many reviewers' worth of verdicts the share of good pictures that are lost passes the bound no more often than promised."""
    held = []
    wanted = Wanted(0.06)
    fresh = [one for one in lessons(1000, seed=99, noise=0.8) if one.verdict is Verdict.GOOD]
    for seed in range(30):
        some = lessons(160, seed=seed, noise=0.8)
        critic = train_critic(some, {}, record="0" * 64, ladder=(RUNGS["screening"],)).critic
        cut = cut_for(critic, fresh[0], wanted)
        if cut is None:
            continue
        lost = float((guard_scores(critic, fresh, {}) < cut.below).mean())
        held.append(lost <= cut.bound)
    assert len(held) > 20 and sum(held) >= 0.9 * len(held)
