"""A search for how a head learns, on stand-ins of its stages: it finds what is better, and the prompt is no price for identity."""

import math

from flenwheel_core.base.statistics import Interval
from flenwheel_core.injection.gains import PairedGain
from flenwheel_core.plans.injection_search import HeadTrial, LearningSpace, score_of, search_head
from flenwheel_core.recipes.injection import LearningRecipe
from flenwheel_core.requests.inject import (
    InjectionCell,
    InjectionIdentity,
    InjectionPhoto,
    InjectResult,
    InjectTrainRequest,
    InjectTrainResult,
)
from tests.kit.injection_world import FACTS

REQUEST = InjectTrainRequest(
    identities=(InjectionIdentity(name="one", photos=(InjectionPhoto(image="0" * 64),)),),
    features="nano",
    base="nano",
    learning=LearningRecipe(learning_rate=1e-5),
    width=128,
    height=128,
)


def search(trials: int) -> tuple[list[LearningRecipe], tuple[HeadTrial, ...]]:
    """Best where the rate of `flow` is 2e-3, which the drawing is told by way of the head."""
    tried: list[LearningRecipe] = []

    def train(asked: InjectTrainRequest) -> InjectTrainResult:
        tried.append(asked.learning)
        return InjectTrainResult(head="0" * 64, facts=FACTS, curves=())

    def draw(_: InjectTrainResult) -> InjectResult:
        rate = tried[-1].flow_rate or tried[-1].learning_rate
        like = 0.8 - abs(math.log10(rate / 2e-3)) / 3
        return InjectResult(images="0" * 64, cells=cells(like), figures=(), grids=(), verdict="")

    found = search_head(REQUEST, LearningSpace(), trials=trials, seed=0, alpha=1.0, train=train, draw=draw)
    return tried, found


def cells(like: float) -> tuple[InjectionCell, ...]:
    return tuple(
        InjectionCell(
            image="0" * 64,
            identity=name,
            method=method,  # type: ignore[arg-type]
            alpha=alpha,
            prompt=0,
            seed=1,
            likeness=value,
            to_photos=None,
            kept=1.0,
            sharpness=1.0,
        )
        for name in ("one", "two")
        for method, alpha, value in (("injection", 0.0, 0.0), ("injection", 1.0, like), ("shuffled", 1.0, 0.1))
    )


def test_it_begins_with_the_given_way_and_finds_a_better_one() -> None:
    tried, found = search(25)
    assert tried[0] == REQUEST.learning and len(found) == 25
    given = next(trial for trial in found if trial.learning == REQUEST.learning)
    assert found[0].score > given.score + 0.3 and 5e-4 < (found[0].learning.flow_rate or 0) < 8e-3
    assert search(25)[0] == tried


def test_the_prompt_is_no_price_for_identity() -> None:
    def gain(identity: float, lost: float | None) -> PairedGain:
        inside = None if lost is None else Interval(lost, lost, lost)
        return PairedGain(1.0, "shuffled", Interval(identity, identity, identity), inside, 4)

    assert score_of(gain(0.5, 0.1)) < score_of(gain(0.3, 0.02)) == score_of(gain(0.3, None)) < score_of(gain(0.4, 0.0))
