"""478 points of a face in three dimensions: MediaPipe's face landmarker, run by OpenCV on the CPU.

The points are in pixels of the picture; depth is in the same unit, larger away from the camera. `certainty` says whether there is
a face that the network can read: near 1 up to about 60 degrees of turn, near 0 in a full profile.
"""

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.identity.people_weights import LANDMARKER, people_file

SIDE_PX = 256
"""The network's input."""
MARGIN = 1.5
"""A face is read in a square of this many times its longer side, as the network was trained."""
LEFT_EYE, RIGHT_EYE = 33, 263
"""Outer corners of the eye on the left and on the right of the picture."""
CERTAIN = 0.5
"""Below this certainty there is no face that the mesh can read."""
EYES_APART = 0.15
"""Eyes nearer than this share of the face, as in a profile, say nothing about its tilt."""


@dataclass(frozen=True)
class Mesh:
    """The points of one face."""

    points: NDArray[np.float64]
    """(478, 3): across, down, and depth, in pixels."""
    certainty: float

    @property
    def turn(self) -> float:
        """Degrees by which the line through the eyes is turned away; positive if the nose points to the picture's right."""
        across = self.points[RIGHT_EYE] - self.points[LEFT_EYE]
        return float(np.degrees(np.arctan2(across[2], across[0])))

    def square(self, pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
        """The smallest square of an RGB picture that holds all points, (side_px, side_px, 3)."""
        import cv2

        low, high = self.points[:, :2].min(axis=0), self.points[:, :2].max(axis=0)
        side = max(int((high - low).max()), 1)
        middle = (low + high) / 2
        cut = cv2.getRectSubPix(pixels, (side, side), (float(middle[0]), float(middle[1])))
        return np.asarray(cv2.resize(cut, (side_px, side_px), interpolation=cv2.INTER_AREA))


class MeshReader:
    """Holds the network. Not for several threads at once."""

    def __init__(self, folder: Path | None = None) -> None:
        import cv2

        self._cv2: Any = cv2
        with zipfile.ZipFile(people_file(LANDMARKER, folder)) as packed:
            self._points = self._network(packed.read("face_landmarks_detector.tflite"))

    def read(self, pixels: NDArray[np.uint8], box: tuple[float, float, float, float]) -> Mesh:
        """The points of the face in `box` (left, top, right, bottom) of an RGB picture; a second look follows its tilt."""
        centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        side = max(box[2] - box[0], box[3] - box[1])
        first = self._look(pixels, centre, side * MARGIN, 0.0)
        eyes = first.points[RIGHT_EYE, :2] - first.points[LEFT_EYE, :2]
        tilt = float(np.arctan2(eyes[1], eyes[0])) if np.hypot(*eyes) > EYES_APART * side else 0.0
        upright = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        placed = first.points[:, :2] @ upright.T
        low, high = placed.min(axis=0), placed.max(axis=0)
        return self._look(pixels, upright.T @ ((low + high) / 2), float((high - low).max()) * MARGIN, tilt)

    def _network(self, data: bytes) -> Any:
        # OpenCV 5's new engine gives a network's last output only, and the classic one is to be had for files alone.
        with tempfile.TemporaryDirectory() as work:
            path = Path(work) / "network.tflite"
            path.write_bytes(data)
            return self._cv2.dnn.readNetFromTFLite(str(path), self._cv2.dnn.ENGINE_CLASSIC)

    def _look(self, pixels: NDArray[np.uint8], centre: NDArray[np.float64], side: float, tilt: float) -> Mesh:
        cv2, scale = self._cv2, side / SIDE_PX
        turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]) * scale
        into = np.column_stack([turn, centre - turn @ np.full(2, SIDE_PX / 2)])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cut = cv2.warpAffine(pixels, into, (SIDE_PX, SIDE_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        self._points.setInput(cv2.dnn.blobFromImage(cut, 1 / 255))
        answer, presence = self._points.forward(["Identity", "Identity_1"])
        points = np.asarray(answer, dtype=np.float64).reshape(-1, 3)
        placed = np.column_stack([points[:, :2] @ turn.T + into[:, 2], points[:, 2] * scale])
        return Mesh(placed, float(1 / (1 + np.exp(-float(np.asarray(presence).reshape(-1)[0])))))
