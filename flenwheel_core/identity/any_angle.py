"""Faces at every angle: CenterFace, a small detector without anchors (Xu et al. 2019, arXiv:1911.03599), run by OpenCV on the CPU.

Finds profiles, which dlib's frontal detector cannot see. One pass costs a tenth of a second on one core.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.identity.people_weights import DETECTOR, people_file

SEARCHED_SIDE_PX = 640
"""Pictures are searched at this long side: faces down to a fortieth of it are found."""
STRIDE = 4
"""The network answers once for every 4 x 4 pixels."""
SIZE_STEP = 32
LEAST_SCORE = 0.5
"""Faces of photographs score 0.5 to 0.95; below lie patches."""
OVERLAP = 0.3
OUTPUTS = ("537", "538", "539", "540")
"""The network's own names: heat (1, 1, h, w), size (1, 2, h, w), offset (1, 2, h, w), landmarks (1, 10, h, w)."""


@dataclass(frozen=True)
class Found:
    """One face in pixels of the picture it was found in."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    points: NDArray[np.float64]
    """(5, 2): the eye on the left of the picture, the other one, the nose, both corners of the mouth."""

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def moved(self, x: float, y: float) -> "Found":
        """The same face in a picture of which this one was cut out at (x, y)."""
        placed = self.points + np.array([x, y])
        return Found(self.left + x, self.top + y, self.right + x, self.bottom + y, self.score, placed)


class AnyAngleDetector:
    """Holds the network. Not for several threads at once."""

    def __init__(self, folder: Path | None = None) -> None:
        import cv2

        self._cv2: Any = cv2
        self._network = cv2.dnn.readNetFromONNX(str(people_file(DETECTOR, folder)))

    def find(self, pixels: NDArray[np.uint8], *, side_px: int = SEARCHED_SIDE_PX) -> list[Found]:
        """The faces of an RGB picture (height, width, 3), largest first."""
        height, width = pixels.shape[:2]
        scale = side_px / max(height, width)
        size = (_fitting(width * scale), _fitting(height * scale))
        self._network.setInput(self._cv2.dnn.blobFromImage(pixels, 1.0, size, (0, 0, 0), swapRB=False, crop=False))
        heat, sizes, offsets, points = (np.asarray(part)[0] for part in self._network.forward(list(OUTPUTS)))
        rows, columns = np.nonzero(heat[0] > LEAST_SCORE)
        if not len(rows):
            return []
        high, wide = (np.exp(sizes[axis, rows, columns]) * STRIDE for axis in (0, 1))
        top = (rows + offsets[0, rows, columns] + 0.5) * STRIDE - high / 2
        left = (columns + offsets[1, rows, columns] + 0.5) * STRIDE - wide / 2
        scores = heat[0, rows, columns]
        boxes = np.stack([left, top, wide, high], axis=1)
        kept = np.asarray(self._cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), LEAST_SCORE, OVERLAP)).reshape(-1)
        back = np.array([width / size[0], height / size[1]])
        found = []
        for index in kept.astype(int):
            offset = points[:, rows[index], columns[index]].reshape(5, 2)[:, ::-1]
            placed = (offset * boxes[index, 2:] + boxes[index, :2]) * back
            x, y = (boxes[index, :2] * back).tolist()
            right, bottom = ((boxes[index, :2] + boxes[index, 2:]) * back).tolist()
            found.append(Found(x, y, right, bottom, float(scores[index]), placed.astype(np.float64)))
        return sorted(found, key=lambda face: (-face.height, face.left, face.top))


def _fitting(length: float) -> int:
    """The next multiple of SIZE_STEP: few sizes, so that the network's buffers are reused."""
    return max(SIZE_STEP, int(np.ceil(length / SIZE_STEP)) * SIZE_STEP)
