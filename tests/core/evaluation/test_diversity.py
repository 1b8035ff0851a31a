"""The Vendi score: known values, and what it must say of poor and rich sets of pictures."""

import numpy as np
import pytest

from flenwheel_core.evaluation.diversity import diversity, vendi_score


def noise(seed: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(0, 256, size=(32, 32, 3)).astype(np.uint8)


def test_all_different_count_all_and_all_alike_count_one() -> None:
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((7, 7))) == pytest.approx(1)


def test_two_groups_count_two() -> None:
    kernel = np.kron(np.eye(2), np.ones((5, 5)))
    assert vendi_score(kernel) == pytest.approx(2)


def test_pictures_shown_twice_add_nothing() -> None:
    pictures = [noise(seed) for seed in range(6)]
    assert diversity(pictures + pictures) == pytest.approx(diversity(pictures), rel=1e-6)
    assert diversity(pictures) == pytest.approx(6, abs=0.2)


def test_pictures_drawn_together_are_less_diverse() -> None:
    pictures = [noise(seed).astype(float) for seed in range(8)]
    mean = np.mean(pictures, axis=0)
    scores = [
        diversity([(mean + (picture - mean) * share).astype(np.uint8) for picture in pictures])
        for share in (1.0, 0.5, 0.2, 0.0)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == pytest.approx(1, abs=1e-6)


def test_no_pictures_have_no_diversity() -> None:
    assert diversity([]) == 0.0
