"""KID against its definition, and on sets whose answer is known."""

import numpy as np
import pytest

from flenwheel_core.evaluation.kernel_distance import kernel_distance


def clouds(shift: float, seed: int = 0, number: int = 40) -> list[list[float]]:
    chance = np.random.default_rng(seed)
    middle = np.array([1.0, shift, 0.0, 0.0])
    return (middle + 0.2 * chance.standard_normal((number, 4))).tolist()


def test_sets_of_one_kind_are_at_no_distance_and_others_farther_the_more_they_differ() -> None:
    same = kernel_distance(clouds(0), clouds(0, seed=1))
    near, far = kernel_distance(clouds(0), clouds(0.3, seed=1)), kernel_distance(clouds(0), clouds(1, seed=1))
    assert same is not None and near is not None and far is not None
    assert abs(same) < 0.02 < near < far


def test_it_is_the_unbiased_estimate_pair_by_pair() -> None:
    first, second = np.array(clouds(0, number=5)), np.array(clouds(0.5, seed=1, number=4))
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second))

    def kernel(
        a: np.ndarray[tuple[int], np.dtype[np.float64]], b: np.ndarray[tuple[int], np.dtype[np.float64]]
    ) -> float:
        return float((a @ b + 1) ** 3)

    within = [
        np.mean([kernel(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j])
        for rows in (one, other)
    ]
    between = np.mean([kernel(a, b) for a in one for b in other])
    wanted = float(within[0] + within[1] - 2 * between)
    assert kernel_distance(first.tolist(), second.tolist()) == pytest.approx(wanted)


def test_one_picture_is_no_set() -> None:
    assert kernel_distance([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]) is None
