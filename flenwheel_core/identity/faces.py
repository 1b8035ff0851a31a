"""Faces in a picture: dlib's HOG detector, five landmarks, and chips aligned as the recognition network was trained.

The detector belongs to the frontal family: true profiles and backs are not found, and finding none proves nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.documents.images import Angle
from flenwheel_core.identity.face_weights import LANDMARKS, package_file

CHIP_PX = 150
CHIP_PADDING = 0.25
DETECTION_SIDE_PX = 1024
"""Larger pictures are searched at this long side; chips are cut from the full picture."""
UPSAMPLED_SIDE_PX = 800
"""The second, finer search doubles a picture of at most this long side."""

FRONT_BELOW = 0.07
HALF_BELOW = 0.20


@dataclass(frozen=True)
class Face:
    """One face, in pixels of the full picture."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    """Of the detector. True faces measured 0.37 to 2.8, a logo 0.12."""
    points: tuple[tuple[float, float], ...]
    """Five landmarks: outer and inner corner of the eye on the right, then of the one on the left, then the nose."""

    @property
    def size_px(self) -> int:
        return round(self.bottom - self.top)

    @property
    def nose_offset(self) -> float:
        """How far the nose stands from the middle of the eyes, along the eye line, in eye distances.

        0 is frontal; positive when the nose points to the right of the picture. Changes sign with a mirrored picture.
        """
        points = np.asarray(self.points)
        right_eye, left_eye, nose = points[0:2].mean(axis=0), points[2:4].mean(axis=0), points[4]
        axis = right_eye - left_eye
        length = float(np.hypot(*axis))
        if length == 0:
            return 0.0
        return float(np.dot(nose - (right_eye + left_eye) / 2, axis / length)) / length

    def angle_hint(self) -> Angle:
        """A coarse reading of the head's turn: advisory only, +-15 degrees at best.

        Named after the picture's sides, as in the prompts: a nose to the left of the picture is a left view.
        """
        offset = self.nose_offset
        if abs(offset) < FRONT_BELOW:
            return "front"
        if abs(offset) < HALF_BELOW:
            return "half-right" if offset > 0 else "half-left"
        return "profile-right" if offset > 0 else "profile-left"


class FaceFinder:
    """Finds faces and cuts aligned chips. Holds dlib's detector and its five-point predictor."""

    def __init__(self) -> None:
        import dlib

        self._dlib: Any = dlib
        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(package_file(LANDMARKS)))

    def find(self, image: Image.Image, minimum_score: float) -> list[Face]:
        """Faces with at least `minimum_score`, largest first."""
        pixels = np.asarray(image.convert("RGB"))
        faces = self._search(image, pixels, DETECTION_SIDE_PX, upsample=0, minimum_score=minimum_score)
        if not faces:
            # The coarse search misses faces below about 80 pixels; the fine one costs four times as much.
            faces = self._search(image, pixels, UPSAMPLED_SIDE_PX, upsample=1, minimum_score=minimum_score)
        return sorted(faces, key=lambda face: (-face.size_px, face.left, face.top))

    def chip(self, image: Image.Image, face: Face) -> NDArray[np.uint8]:
        """The face upright and centred, (150, 150, 3) RGB: the input the recognition network was trained on."""
        rectangle = self._dlib.rectangle(*(round(side) for side in (face.left, face.top, face.right, face.bottom)))
        points = self._dlib.points([self._dlib.point(round(x), round(y)) for x, y in face.points])
        shape = self._dlib.full_object_detection(rectangle, points)
        pixels = np.asarray(image.convert("RGB"))
        return np.asarray(self._dlib.get_face_chip(pixels, shape, CHIP_PX, CHIP_PADDING))

    def _search(
        self, image: Image.Image, pixels: NDArray[np.uint8], side_px: int, *, upsample: int, minimum_score: float
    ) -> list[Face]:
        scale = min(1.0, side_px / max(image.size))
        searched = pixels
        if scale < 1.0:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            searched = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX))
        boxes, scores, _ = self._detector.run(searched, upsample, minimum_score)
        return [self._face(pixels, box, float(score), scale) for box, score in zip(boxes, scores, strict=True)]

    def _face(self, pixels: NDArray[np.uint8], box: Any, score: float, scale: float) -> Face:
        left, top, right, bottom = (side / scale for side in (box.left(), box.top(), box.right() + 1, box.bottom() + 1))
        rectangle = self._dlib.rectangle(round(left), round(top), round(right) - 1, round(bottom) - 1)
        points = tuple((float(point.x), float(point.y)) for point in self._predictor(pixels, rectangle).parts())
        return Face(left, top, right, bottom, score, points)
