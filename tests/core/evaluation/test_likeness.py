"""Likeness: drawn pictures against real ones that were kept back."""

import pytest

from flenwheel_core.evaluation.likeness import likeness_score
from flenwheel_core.identity.protocols import Embedded


def seen(*vectors: tuple[float, float]) -> list[Embedded]:
    return [Embedded(vector) for vector in vectors]


def test_the_same_direction_is_one_and_the_opposite_is_not() -> None:
    real = seen((1.0, 0.0), (0.8, 0.6))
    near, far = likeness_score(seen((0.9, 0.3)), real), likeness_score(seen((0.0, -1.0)), real)
    assert near is not None and far is not None
    assert near.drawn > 0.99 and far.drawn < 0
    assert near.real == far.real == pytest.approx(0.8) and near.photos == 2
    assert "2 held-out photos; real ones among themselves 0.800" in near.text()


def test_nothing_to_compare_is_no_figure() -> None:
    assert likeness_score(seen((1.0, 0.0)), [Embedded(None, "no_face")]) is None
    assert likeness_score([Embedded(None, "profile_face")], seen((1.0, 0.0))) is None
    single = likeness_score(seen((1.0, 0.0)), seen((1.0, 0.0)))
    assert single is not None and single.real is None and single.drawn == 1
