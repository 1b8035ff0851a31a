import numpy as np
import pytest

from flenwheel_core.identity.any_angle import Found
from flenwheel_core.identity.face_mesh import LEFT_EYE, RIGHT_EYE, Mesh
from flenwheel_core.identity.head_turn import FRONT_BELOW, HALF_BELOW, angle_belief, angle_of, turn_of


def mesh(turn: float, certainty: float) -> Mesh:
    points = np.zeros((478, 3))
    points[LEFT_EYE] = (0, 0, 0)
    points[RIGHT_EYE] = (np.cos(np.radians(turn)), 0, np.sin(np.radians(turn)))
    return Mesh(points, certainty)


def found(eyes_apart: float, middle: float) -> Found:
    """A face 100 px wide; distance of its eyes and middle of its points in widths of it."""
    x = 50 + 100 * middle
    points = [(x - 50 * eyes_apart, 40), (x + 50 * eyes_apart, 40), (x, 60), (x, 80), (x, 80)]
    return Found(0, 0, 100, 120, 0.9, np.array(points, dtype=np.float64))


@pytest.mark.parametrize(
    ("turn", "angle"),
    [
        (0, "front"),
        (-21, "front"),
        (23, "half-right"),
        (-45, "half-left"),
        (54, "half-right"),
        (56, "profile-right"),
        (-90, "profile-left"),
    ],
)
def test_angles_are_named_after_the_sides_of_the_picture(turn: float, angle: str) -> None:
    assert angle_of(turn) == angle


def test_an_angle_in_the_middle_of_its_class_is_sure_and_one_at_a_limit_a_guess() -> None:
    assert angle_belief(0) > 0.99 and angle_belief(-40) > 0.99 and angle_belief(90) > 0.98
    for limit in (FRONT_BELOW, HALF_BELOW):
        below, above = angle_belief(limit - 0.01), angle_belief(-limit - 0.01)
        assert below == pytest.approx(0.5, abs=0.01) and above == pytest.approx(0.5, abs=0.01)
    assert angle_belief(65) < angle_belief(80), "beyond 60 degrees turns are read less well"


def test_the_mesh_is_believed_up_to_a_half_view() -> None:
    assert turn_of(found(0.30, 0.2), mesh(30, 0.99)) == pytest.approx(30)


def test_beyond_it_both_witnesses_count() -> None:
    assert turn_of(found(0.15, 0.3), mesh(70, 0.99)) == pytest.approx((70 + 62) / 2)


@pytest.mark.parametrize(("side", "sign"), [(0.3, 1), (-0.3, -1)])
def test_a_profile_that_the_mesh_cannot_read_is_told_by_its_eyes(side: float, sign: int) -> None:
    assert turn_of(found(0.05, side), mesh(-30 * sign, 0.0)) == pytest.approx(90 * sign)
