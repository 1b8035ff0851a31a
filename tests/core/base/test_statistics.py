"""Intervals and paired tests against published values and known extremes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flenwheel_core.base.statistics import bootstrap_interval, mcnemar, rank_tail, sign_flip_test, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_gives_published_values(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson(successes, trials)
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate(pair: tuple[int, int]) -> None:
    found = wilson(*pair)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_no_trials_say_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_mcnemar_counts_only_pairs_that_differ() -> None:
    before = [True] * 50 + [False] * 6
    after = [True] * 50 + [True] * 6
    assert mcnemar(before, after) == pytest.approx(2 / 2**6)
    assert mcnemar(before, before) == 1.0
    assert mcnemar(before, after) == mcnemar(after, before)


def test_sign_flips_are_exact_for_few_and_agree_for_many() -> None:
    assert sign_flip_test([1, 1, 1, 1, 1]) == pytest.approx(2 / 2**5)
    assert sign_flip_test([0, 0]) == 1.0
    random = np.random.default_rng(1)
    noise = random.normal(size=60)
    assert sign_flip_test((noise - noise.mean()).tolist()) > 0.9
    assert sign_flip_test((noise * 0.2 + 1).tolist()) < 0.001


def test_sign_flips_repeat() -> None:
    values = np.random.default_rng(2).normal(0.2, 1, size=40).tolist()
    assert sign_flip_test(values) == sign_flip_test(values)


def test_bootstrap_interval_holds_the_mean_and_narrows() -> None:
    values = np.random.default_rng(3).normal(5, 1, size=400)
    few = bootstrap_interval(20, lambda picked: float(values[picked].mean()))
    many = bootstrap_interval(400, lambda picked: float(values[picked].mean()))
    assert many.low < 5 < many.high
    assert many.high - many.low < few.high - few.low


def test_ranks_of_new_values_follow_their_law() -> None:
    assert rank_tail(1, 1, 5, 20) == pytest.approx(5 / 21)  # one more value lies in each of 21 gaps alike
    assert rank_tail(2, 2, 1, 1) == pytest.approx(1 / 3)  # the known one is the highest of three
    assert rank_tail(0, 7, 3, 9) == 1.0
    random = np.random.default_rng(4)
    drawn = [int((random.random(12) < np.sort(random.random(150))[37]).sum()) for _ in range(20_000)]
    assert rank_tail(6, 12, 38, 150) == pytest.approx(np.mean([low >= 6 for low in drawn]), abs=0.006)
