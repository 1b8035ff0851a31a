import numpy as np
import pytest
from PIL import ImageOps

from flenwheel_core.identity.face_mesh import LEFT_EYE, RIGHT_EYE, MeshReader
from tests.kit.faces import astronaut, needs_people_weights

pytestmark = needs_people_weights
BOX = (180.0, 62.0, 271.0, 178.0)


@pytest.fixture(scope="module")
def reader() -> MeshReader:
    return MeshReader()


def test_points_lie_on_the_face(reader: MeshReader) -> None:
    mesh = reader.read(np.asarray(astronaut()), BOX)
    assert mesh.certainty > 0.9
    assert mesh.points.shape == (478, 3)
    assert mesh.points[LEFT_EYE, 0] < 225 < mesh.points[RIGHT_EYE, 0]
    assert abs(mesh.turn) < 10
    assert mesh.square(np.asarray(astronaut()), 112).shape == (112, 112, 3)


def test_a_mirrored_face_is_turned_the_other_way(reader: MeshReader) -> None:
    plain = reader.read(np.asarray(astronaut()), BOX)
    mirrored = reader.read(np.asarray(ImageOps.mirror(astronaut())), (512 - BOX[2], BOX[1], 512 - BOX[0], BOX[3]))
    assert mirrored.turn == pytest.approx(-plain.turn, abs=5)


def test_a_tilted_face_is_read_as_well(reader: MeshReader) -> None:
    tilted = np.asarray(astronaut().rotate(25, center=(225, 120)))
    assert reader.read(tilted, BOX).certainty > 0.9


def test_a_wall_is_no_face(reader: MeshReader) -> None:
    assert reader.read(np.full((256, 256, 3), 128, np.uint8), (60, 60, 200, 200)).certainty < 0.5
