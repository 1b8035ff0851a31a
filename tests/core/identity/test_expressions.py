import numpy as np
import pytest

from flenwheel_core.identity.expressions import KNOWN_FROM, SIDE_PX, ExpressionNetwork
from flenwheel_core.identity.face_mesh import MeshReader
from tests.kit.faces import astronaut, needs_people_weights

pytestmark = needs_people_weights
RAMP = (0.58608, 0.10114, 0.03522, 0.23714, 0.00045, 0.03819, 0.00179)


@pytest.fixture(scope="module")
def network() -> ExpressionNetwork:
    return ExpressionNetwork()


def test_a_smile_is_a_smile_at_every_brightness(network: ExpressionNetwork) -> None:
    pixels = np.asarray(astronaut())
    face = MeshReader().read(pixels, (180, 62, 271, 178)).square(pixels, SIDE_PX)
    for tone in (0.6, 1.0, 1.2):
        found, share = network.expression(np.clip(face * tone, 0, 255).astype(np.uint8))
        assert found == "smiling" and share >= KNOWN_FROM


def test_the_beliefs_are_those_of_the_published_network(network: ExpressionNetwork) -> None:
    """A ramp of grey; the figures were given by the same weights in torch."""
    ramp = np.repeat(np.linspace(0, 255, SIDE_PX).astype(np.uint8)[None, :, None], SIDE_PX, axis=0).repeat(3, axis=2)
    shares = network.shares(ramp)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-5)
    assert shares == pytest.approx(np.array(RAMP), abs=2e-4)
