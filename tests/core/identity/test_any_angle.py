import numpy as np
import pytest

from flenwheel_core.identity.any_angle import AnyAngleDetector
from tests.kit.faces import astronaut, needs_people_weights, turned_man, without_face

pytestmark = needs_people_weights


@pytest.fixture(scope="module")
def detector() -> AnyAngleDetector:
    return AnyAngleDetector()


def test_a_frontal_face_is_found_where_it_is(detector: AnyAngleDetector) -> None:
    (face,) = detector.find(np.asarray(astronaut()))
    assert face.left < 225 < face.right
    assert face.top < 120 < face.bottom
    left_eye, right_eye, nose, *_ = face.points
    assert left_eye[0] < nose[0] < right_eye[0] and nose[1] > left_eye[1]


def test_a_face_that_the_frontal_detector_misses_is_found(detector: AnyAngleDetector) -> None:
    (face,) = detector.find(np.asarray(turned_man()))
    assert face.left < 230 < face.right and face.top < 155 < face.bottom


def test_a_cut_moves_back_to_its_place(detector: AnyAngleDetector) -> None:
    pixels = np.asarray(astronaut())
    whole = detector.find(pixels)[0]
    cut = detector.find(np.ascontiguousarray(pixels[20:320, 100:400]))[0].moved(100, 20)
    assert cut.left == pytest.approx(whole.left, abs=8)
    assert np.abs(cut.points - whole.points).max() < 8


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
def test_nothing_is_found_where_nobody_is(detector: AnyAngleDetector, name: str) -> None:
    assert detector.find(np.asarray(without_face(name))) == []
