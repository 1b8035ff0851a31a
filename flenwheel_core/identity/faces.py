"""Faces in a picture: dlib's HOG detector, five landmarks, and chips aligned as the recognition network was trained.

That detector belongs to the frontal family. Where it finds nothing, a second one looks that finds profiles too, if its weights
are here (`people_weights`); without them finding none proves nothing.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.documents.images import Angle, Expression, Labels
from flenwheel_core.identity.face_weights import LANDMARKS, package_file
from flenwheel_core.identity.head_turn import HALF_BELOW as PROFILE_FROM
from flenwheel_core.identity.head_turn import angle_belief, angle_of
from flenwheel_core.identity.people_weights import people_weights_here
from flenwheel_core.identity.portraits import Portrait, PortraitReader
from flenwheel_core.identity.protocols import Beliefs

CHIP_PX = 150
CHIP_PADDING = 0.25
DETECTION_SIDE_PX = 1024
"""Larger pictures are searched at this long side; chips are cut from the full picture."""
UPSAMPLED_SIDE_PX = 800
"""The second, finer search doubles a picture of at most this long side."""

FRONT_HINT_BELOW = 0.07
HALF_HINT_BELOW = 0.20
SQUARE_SHARE = 0.8
"""dlib's landmarks expect a square from the brows to the chin: this share of the height of the second detector's box."""


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
    turn: float | None = None
    """Degrees that the head is turned, positive to the picture's right; None if it was not read from the mesh."""
    expression: Expression | None = None
    expression_belief: float | None = None
    """The share of the belief that the expression got."""

    @property
    def is_profile(self) -> bool:
        """True if so little of the face is seen that the recognition network cannot tell people apart."""
        return self.turn is not None and abs(self.turn) >= PROFILE_FROM

    @property
    def labels(self) -> Labels:
        """What the face shows: its angle, and its expression where that was read."""
        return Labels(angle=self.angle_hint(), expression=self.expression)

    @property
    def beliefs(self) -> Beliefs:
        """How sure the labels are; nothing of a coarse hint."""
        found = {} if self.turn is None else {"angle": angle_belief(self.turn)}
        if self.expression is not None and self.expression_belief is not None:
            found["expression"] = self.expression_belief
        return found

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
        """The head's angle: read from the mesh, or else from five points, +-15 degrees at best and advisory only.

        Named after the picture's sides, as in the prompts: a nose to the left of the picture is a left view.
        """
        if self.turn is not None:
            return angle_of(self.turn)
        offset = self.nose_offset
        if abs(offset) < FRONT_HINT_BELOW:
            return "front"
        if abs(offset) < HALF_HINT_BELOW:
            return "half-right" if offset > 0 else "half-left"
        return "profile-right" if offset > 0 else "profile-left"


class FaceFinder:
    """Finds faces and cuts aligned chips. Holds dlib's detector and its five-point predictor, and the second detector if it is here."""

    def __init__(self, people: Path | None = None) -> None:
        """`people` is the folder of the second detector's weights; the installation's own if None."""
        import dlib

        self._dlib: Any = dlib
        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(package_file(LANDMARKS)))
        self._portraits = PortraitReader(people) if people_weights_here(people) else None

    @property
    def sees_profiles(self) -> bool:
        """True if the second detector is here."""
        return self._portraits is not None

    def find(self, image: Image.Image, minimum_score: float) -> list[Face]:
        """Faces with at least `minimum_score`, largest first."""
        pixels = np.asarray(image.convert("RGB"))
        faces = self._search(image, pixels, DETECTION_SIDE_PX, upsample=0, minimum_score=minimum_score)
        if not faces:
            others = None if self._portraits is None else self._portraits.find(pixels)
            if others is None or not all(abs(one.turn) >= PROFILE_FROM for one in others):
                # The coarse search misses faces below about 80 pixels; the fine one costs four times as much. Faces that it finds
                # are aligned as ever, so that their embeddings stay comparable.
                faces = self._search(image, pixels, UPSAMPLED_SIDE_PX, upsample=1, minimum_score=minimum_score)
            faces = faces or [self._of_portrait(pixels, one) for one in others or ()]
        return sorted(faces, key=lambda face: (-face.size_px, face.left, face.top))

    def find_all(self, image: Image.Image, minimum_score: float) -> list[Face]:
        """As `find`, and nobody who is turned away beside a frontal face is missed."""
        faces = self.find(image, minimum_score)
        if self._portraits is None or not faces or any(face.turn is not None for face in faces):
            return faces
        pixels = np.asarray(image.convert("RGB"))
        known = [(face.left, face.top, face.right, face.bottom) for face in faces]
        faces += [self._of_portrait(pixels, one) for one in self._portraits.find_beside(pixels, known)]
        return sorted(faces, key=lambda face: (-face.size_px, face.left, face.top))

    def describe(self, image: Image.Image, face: Face) -> Face:
        """The same face with its turn and expression read from the mesh; unchanged without its weights."""
        if self._portraits is None or face.turn is not None:
            return face
        box = (face.left, face.top, face.right, face.bottom)
        read = self._portraits.read(np.asarray(image.convert("RGB")), box)
        if read is None:
            return face
        return replace(face, turn=read.turn, expression=read.expression, expression_belief=read.expression_belief)

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

    def _of_portrait(self, pixels: NDArray[np.uint8], portrait: Portrait) -> Face:
        left, top, right, bottom = portrait.box
        side = max(right - left, (bottom - top) * SQUARE_SHARE)
        middle, low = (left + right) / 2, bottom + 0.025 * side
        box = self._dlib.rectangle(*(round(v) for v in (middle - side / 2, low - side, middle + side / 2, low)))
        points = tuple((float(point.x), float(point.y)) for point in self._predictor(pixels, box).parts())
        seen = (portrait.turn, portrait.expression, portrait.expression_belief)
        return Face(left, top, right, bottom, portrait.score, points, *seen)

    def _face(self, pixels: NDArray[np.uint8], box: Any, score: float, scale: float) -> Face:
        left, top, right, bottom = (side / scale for side in (box.left(), box.top(), box.right() + 1, box.bottom() + 1))
        rectangle = self._dlib.rectangle(round(left), round(top), round(right) - 1, round(bottom) - 1)
        points = tuple((float(point.x), float(point.y)) for point in self._predictor(pixels, rectangle).parts())
        return Face(left, top, right, bottom, score, points)
