import numpy as np
import pytest

from benchmarks.kit.hand_finder import HAND_PX, Square
from benchmarks.kit.spoiled_hands import HAND_SPOILS, added, honest, stretched

ROOTS = ((60, 110), (78, 105), (96, 108), (112, 116))
OPEN = np.asarray(
    [(85, 180), (60, 165), (42, 150), (30, 138), (22, 128)]
    + [(x, y - rise) for x, y in ROOTS for rise in (0, 25, 45, 60)],
    np.float64,
)
"""An open hand: the wrist, the thumb, four fingers that point up."""


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (200, 180, 3)).astype(np.uint8)


@pytest.mark.parametrize("kind", HAND_SPOILS)
def test_an_open_hand_is_changed_and_the_same_again(kind: str) -> None:
    made, again = (HAND_SPOILS[kind](picture(), OPEN, np.random.default_rng(3)) for _ in range(2))
    assert made is not None and again is not None
    np.testing.assert_array_equal(made, again)
    assert made.shape == (200, 180, 3) and (made != picture()).any()


def test_of_a_fist_no_finger_is_taken() -> None:
    fist = OPEN.copy()
    for root in (5, 9, 13, 17):
        fist[root + 1 : root + 4] = fist[root] + np.array([(0, -10), (0, 5), (0, 15)])
    assert stretched(fist) == [] and added(picture(), fist, np.random.default_rng(0)) is None


def test_the_square_follows_a_picture_that_is_mirrored_turned_and_made_smaller() -> None:
    """A bright spot in the square's middle lies in its middle afterwards, but for what a detector errs by."""
    dark = np.zeros((200, 180, 3), np.uint8)
    dark[96:105, 56:65] = 255
    for seed in range(6):
        made, square = honest(dark, Square(60, 100, 120, 0.2), np.random.default_rng(seed))
        bright = np.argwhere(made[..., 0] > made.max() * 0.7).mean(axis=0)[::-1]
        assert np.hypot(*(bright - (square.x, square.y))) < 0.12 * square.side


def test_a_square_turns_places_of_the_network_into_places_of_the_picture() -> None:
    upright = Square(100, 50, HAND_PX * 2, 0).into()
    np.testing.assert_allclose(upright @ (HAND_PX / 2 + 10, HAND_PX / 2, 1), (120, 50))
    turned = Square(100, 50, HAND_PX, np.pi / 2).into()
    np.testing.assert_allclose(turned @ (HAND_PX / 2 + 10, HAND_PX / 2, 1), (100, 60), atol=1e-9)
