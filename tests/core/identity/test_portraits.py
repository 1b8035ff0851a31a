import numpy as np
import pytest
from PIL import ImageOps

from flenwheel_core.identity.portraits import PortraitReader
from tests.kit.faces import astronaut, needs_people_weights, turned_man

pytestmark = needs_people_weights


@pytest.fixture(scope="module")
def reader() -> PortraitReader:
    return PortraitReader()


def test_angle_and_expression_are_read(reader: PortraitReader) -> None:
    (portrait,) = reader.find(np.asarray(astronaut()))
    assert (portrait.angle, portrait.expression) == ("front", "smiling")


def test_a_face_given_by_its_box_is_read_the_same(reader: PortraitReader) -> None:
    portrait = reader.read(np.asarray(astronaut()), (179, 83, 270, 171))
    assert portrait is not None
    assert (portrait.angle, portrait.expression) == ("front", "smiling")


def test_a_turned_man_looks_to_his_side_and_shows_no_expression(reader: PortraitReader) -> None:
    turns = [reader.find(np.asarray(picture))[0] for picture in (turned_man(), ImageOps.mirror(turned_man()))]
    assert 40 < turns[0].turn < 75 and -75 < turns[1].turn < -40
    assert [one.expression for one in turns] == [None, None]


def test_a_box_without_a_face_reads_nothing(reader: PortraitReader) -> None:
    assert reader.read(np.full((300, 300, 3), 128, np.uint8), (80, 80, 220, 220)) is None
