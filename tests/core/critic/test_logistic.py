"""The regression: its optimum, its penalty, its chances."""

import numpy as np
import pytest

from flenwheel_core.critic.logistic import SLIPS, chances, fit


def _problem(number: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    columns = np.hstack([np.ones((number, 1)), random.normal(size=(number, 3))])
    truth = np.array([[0.2, 0.0, -0.2], [1.5, 0.0, -1.5], [0.0, 1.0, -1.0], [0.0, 0.0, 0.0]])
    scores = columns @ truth
    raised = np.exp(scores)
    outcomes = np.array([random.choice(3, p=row / row.sum()) for row in raised])
    return columns, outcomes, np.array([1e-3, 1.0, 1.0, 1.0])


def _objective(weights: np.ndarray, columns: np.ndarray, outcomes: np.ndarray, penalty: np.ndarray) -> float:
    scores = columns @ weights
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(outcomes)), outcomes].sum() + 0.5 * (penalty[:, None] * weights**2).sum())


def test_no_other_weights_do_better() -> None:
    columns, outcomes, penalty = _problem()
    weights = fit(columns, outcomes, penalty)
    best = _objective(weights, columns, outcomes, penalty)
    random = np.random.default_rng(2)
    for size in (1e-3, 1e-2, 0.3):
        for _ in range(20):
            assert _objective(weights + random.normal(0, size, weights.shape), columns, outcomes, penalty) > best


def test_it_finds_the_truth_with_many_pictures() -> None:
    columns, outcomes, penalty = _problem(6000)
    weights = fit(columns, outcomes, penalty * 1e-3)
    against_good = weights[:, :2] - weights[:, 2:]
    assert against_good[1] == pytest.approx([3.0, 1.5], abs=0.35)
    assert against_good[2] == pytest.approx([1.0, 2.0], abs=0.35)
    assert np.abs(against_good[3]).max() < 0.2


def test_a_heavier_penalty_shrinks() -> None:
    columns, outcomes, penalty = _problem()
    light, heavy = (np.abs(fit(columns, outcomes, penalty * factor)[1:]).sum() for factor in (1, 50))
    assert heavy < light / 2


def test_chances_add_up_and_none_is_impossible() -> None:
    columns, outcomes, penalty = _problem()
    found = chances(columns * 100, fit(columns, outcomes, penalty))
    assert found.sum(axis=1) == pytest.approx(1.0)
    assert found.min() >= SLIPS / 3 - 1e-12


@pytest.mark.parametrize("number", [0, 1, 5])
def test_few_or_no_pictures_are_no_problem(number: int) -> None:
    columns = np.ones((number, 2))
    assert np.isfinite(fit(columns, np.zeros(number, dtype=np.intp), np.array([1e-3, 1.0]))).all()
