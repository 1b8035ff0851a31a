"""Everything that can be read from a face at any angle: where it is, how far it is turned, its expression."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.documents.images import Angle, Expression
from flenwheel_core.identity.any_angle import AnyAngleDetector, Found
from flenwheel_core.identity.expressions import SIDE_PX, TURNED_FROM, ExpressionNetwork
from flenwheel_core.identity.face_mesh import CERTAIN, Mesh, MeshReader
from flenwheel_core.identity.head_turn import MESH_ALONE_UP_TO, angle_of, turn_of

Box = tuple[float, float, float, float]
BESIDE_SIDE_PX = 416
"""Somebody beside a face that is known already is looked for at this long side: large enough for whoever matters, and quick."""
AROUND = 0.8
"""A face that only the frontal detector found is looked for again in a cut this much wider than it on every side."""


@dataclass(frozen=True)
class Portrait:
    """One face, read."""

    box: Box
    """Left, top, right and bottom in pixels of the picture."""
    score: float
    turn: float
    """Degrees; positive if the nose points to the right of the picture."""
    expression: Expression | None
    expression_belief: float | None = None
    """The share of the belief that the expression got; None where none was looked at."""

    @property
    def angle(self) -> Angle:
        return angle_of(self.turn)


class PortraitReader:
    """Holds the detector, the mesh's network and that of expressions. Raises MissingWeightsError if they are not here."""

    def __init__(self, folder: Path | None = None) -> None:
        self._detector = AnyAngleDetector(folder)
        self._mesh = MeshReader(folder)
        self._expressions = ExpressionNetwork(folder)

    def find(self, pixels: NDArray[np.uint8]) -> list[Portrait]:
        """Every face of an RGB picture (height, width, 3), largest first, whatever way it is turned."""
        return [self._read(pixels, found) for found in self._detector.find(pixels)]

    def find_beside(self, pixels: NDArray[np.uint8], known: Sequence[Box]) -> list[Portrait]:
        """The faces that are none of the known ones, given by their boxes."""
        found = self._detector.find(pixels, side_px=BESIDE_SIDE_PX)
        return [self._read(pixels, one) for one in found if not any(_same(one, box) for box in known)]

    def read(self, pixels: NDArray[np.uint8], box: Box) -> Portrait | None:
        """What the face in `box` shows; None if there is no face that can be read."""
        mesh = self._mesh.read(pixels, box)
        if mesh.certainty >= CERTAIN and abs(mesh.turn) <= MESH_ALONE_UP_TO:
            return Portrait(box, 1.0, mesh.turn, *self._expression(pixels, mesh, mesh.turn))
        found = self._found_in(pixels, box)
        return None if found is None else self._read(pixels, found)

    def _read(self, pixels: NDArray[np.uint8], found: Found) -> Portrait:
        box = (found.left, found.top, found.right, found.bottom)
        mesh = self._mesh.read(pixels, box)
        turn = turn_of(found, mesh)
        return Portrait(box, found.score, turn, *self._expression(pixels, mesh, turn))

    def _expression(self, pixels: NDArray[np.uint8], mesh: Mesh, turn: float) -> tuple[Expression | None, float | None]:
        if mesh.certainty < CERTAIN or abs(turn) > TURNED_FROM:
            return None, None
        return self._expressions.expression(mesh.square(pixels, SIDE_PX))

    def _found_in(self, pixels: NDArray[np.uint8], box: Box) -> Found | None:
        """The detector's own face at `box`: its eyes tell the turn where the mesh cannot."""
        high, wide = (box[3] - box[1]) * AROUND, (box[2] - box[0]) * AROUND
        left, top = max(0, int(box[0] - wide)), max(0, int(box[1] - high))
        cut = np.ascontiguousarray(pixels[top : int(box[3] + high), left : int(box[2] + wide)])
        middle = np.array([(box[0] + box[2]) / 2 - left, (box[1] + box[3]) / 2 - top])
        for found in self._detector.find(cut):
            if found.left <= middle[0] <= found.right and found.top <= middle[1] <= found.bottom:
                return found.moved(left, top)
        return None


def _same(found: Found, box: Box) -> bool:
    """True if both are one face: the middle of one lies in the other."""
    x, y = (found.left + found.right) / 2, (found.top + found.bottom) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
