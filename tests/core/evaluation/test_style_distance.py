import numpy as np
import pytest

from flenwheel_core.evaluation.style_distance import PALETTE, Style, default_strength, knee
from flenwheel_core.images.style_features import NAMES, PALETTE_PIXELS, StyleFeatures, features_of
from flenwheel_core.nano.paintings import painting, scene
from flenwheel_core.nano.world.render import render


def drawn(count: int, *, shift: float = 0.0, colour: float = 0.0, seed: int = 0) -> list[StyleFeatures]:
    """Features of a made distribution: standard deviation 2 around `shift`, colours 20 around `colour`."""
    chance = np.random.default_rng(seed)
    return [
        StyleFeatures(
            chance.normal(shift, 2, len(NAMES)),
            chance.normal(colour, 20, (PALETTE_PIXELS, 3)).astype(np.float32),
        )
        for _ in range(count)
    ]


def test_a_shift_is_told_in_standard_deviations() -> None:
    style = Style(drawn(120))
    same, moved = style.distance(drawn(120, seed=1)), style.distance(drawn(120, shift=6, seed=1))
    assert same.total < 0.3
    assert all(moved.parts[name] == pytest.approx(3, rel=0.25) for name in NAMES)
    assert moved.parts[PALETTE] < 0.1
    coloured = style.distance(drawn(120, colour=40, seed=1))
    # Two standard deviations on each axis are 2 sqrt 3 along the diagonal, of which directions see one half on average.
    assert coloured.parts[PALETTE] == pytest.approx(3**0.5, rel=0.1)


def test_the_interval_holds_the_value_and_more_pictures_make_it_narrower() -> None:
    style = Style(drawn(200))
    few, many = style.distance(drawn(8, shift=2, seed=2)), style.distance(drawn(200, shift=2, seed=2))
    assert few.low < few.total < few.high and many.low < many.total < many.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert style.distance(drawn(8, shift=2, seed=2)) == few


def test_a_gain_is_believed_only_where_there_is_one() -> None:
    style = Style(drawn(200))
    gained, low, high = style.gain(drawn(20, shift=1, seed=3), drawn(20, shift=4, seed=4))
    assert low < gained < high and low > 0.5
    _, low, high = style.gain(drawn(20, shift=2, seed=5), drawn(20, shift=2, seed=6))
    assert low < 0 < high


def test_a_distribution_needs_pictures() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        Style(drawn(1))
    with pytest.raises(ValueError, match="at least 2"):
        Style(drawn(5)).distance(drawn(1))


def test_a_painter_is_nearer_to_himself_than_to_another_and_photos_are_far() -> None:
    style = Style(features_of([painting(1, seed) for seed in range(12)]))
    own, other = (features_of([painting(who, 50 + seed) for seed in range(8)]) for who in (1, 2))
    photos = features_of([render(*scene(50 + seed)) for seed in range(8)])
    assert style.gain(own, other)[0] > 0.2 and style.gain(other, photos)[1] > 0


@pytest.mark.parametrize(
    ("content", "at"),
    [
        ((0.95, 0.95, 0.94, 0.94, 0.60), 0.9),  # content breaks at the last step, which gains little
        ((0.95, 0.95, 0.95, 0.95, 0.95), 1.2),  # nothing is lost: as strong as it goes
        ((0.95, 0.50, 0.42, 0.40, 0.40), 0.0),  # every step costs more than it gives
    ],
)
def test_the_knee_is_where_style_begins_to_cost_more_than_it_gives(content: tuple[float, ...], at: float) -> None:
    assert knee((0.0, 0.3, 0.6, 0.9, 1.2), (3.0, 2.6, 1.5, 0.6, 0.5), content) == at


STRENGTHS, NEAR = (0.4, 0.7, 1.0, 1.2), (3.0, 2.4, 1.8, 1.9)


@pytest.mark.parametrize(
    ("content", "base", "at"),
    [
        ((1.0, 0.98, 0.91, 0.75), 1.0, 0.7),  # the strongest that stays within the margin
        ((1.0, 0.99, 0.99, 0.98), 1.0, 1.0),  # all do: the nearest to the style, though 1.2 is stronger
        ((0.90, 0.90, 0.90, 0.20), 1.0, 1.0),  # none does: the knee
        ((1.0, 0.98, 0.98, 0.20), None, 1.0),  # what the base shows is not known: the knee
    ],
)
def test_the_default_strength_keeps_the_content(content: tuple[float, ...], base: float | None, at: float) -> None:
    assert default_strength(STRENGTHS, NEAR, content, base=base, margin=0.02) == at
