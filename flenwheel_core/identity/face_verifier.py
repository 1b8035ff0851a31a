"""The face verifier: DeepFace's embeddings of chips that dlib found and aligned.

DeepFace's own detection and alignment are not used: on the same pictures they halve the gap between the same and another
person. Given chips as the network was trained on, DeepFace(Dlib) is bit-identical to dlib itself.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from flenwheel_core.base.ids import digest_json
from flenwheel_core.base.processes import leave_with_parent
from flenwheel_core.identity.cohort import face_cohort
from flenwheel_core.identity.embedding_math import Distance
from flenwheel_core.identity.face_weights import (
    FACE_MODELS,
    LANDMARKS,
    RECOGNITION,
    FaceModel,
    file_sha256,
    package_file,
    provide_weights,
)
from flenwheel_core.identity.faces import CHIP_PADDING, CHIP_PX, Face, FaceFinder
from flenwheel_core.identity.fingerprint import ThresholdRule
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.images.quality import sharpness_of

MINIMUM_SCORE = 0.3
EXTRA_FACE_SHARE = 0.5
OTHER_FACE_SHARE = 0.2
"""Faces below this share of the largest one's height are not embedded: they are too far away to be the character's."""
MOST_FACES = 8
PARALLEL_FROM = 12
"""Fewer pictures are not worth the second that a worker process takes to start."""


class FaceVerifier:
    """Embeds the faces of a picture, the largest first. Uses the CPU only."""

    def __init__(self, model: FaceModel, models_folder: Path, *, minimum_score: float = MINIMUM_SCORE) -> None:
        weights = provide_weights(model, models_folder)
        self._model = model
        self._minimum_score = minimum_score
        self._finder = FaceFinder()
        self._version = digest_json(
            {
                "model": model.name,
                "weights": file_sha256(weights.resolve()),
                "landmarks": file_sha256(package_file(LANDMARKS)),
                "chip_px": CHIP_PX,
                "padding": CHIP_PADDING,
            }
        )

    @property
    def name(self) -> str:
        return f"face-{self._model.name.lower()}"

    @property
    def version(self) -> str:
        return self._version

    @property
    def threshold_rule(self) -> ThresholdRule:
        cap = self._model.threshold_cap
        return ThresholdRule(
            distance=cast("Distance", self._model.distance),
            margin=cap / 6,
            floor=cap * 0.75,
            cap=cap,
            unsure_margin=cap / 6,
            cohort=face_cohort() if self._model.file_name == RECOGNITION else (),
        )

    @property
    def sees_whole_picture(self) -> bool:
        return False

    def embed(self, images: Sequence[Image.Image]) -> list[Embedded]:
        """The embedding of each picture's largest face, and those of the others beside it.

        `no_face` without one; `extra_faces` beside one if another is nearly as large. Who of them is the character, `people` says.
        `profile_face` without an embedding where every face is turned so far away that people cannot be told apart in it.
        """
        found = [self._described(image) for image in images]
        pairs = zip(images, found, strict=True)
        chips = [self._finder.chip(image, face) for image, faces in pairs for face in faces if not face.is_profile]
        vectors = iter(self._represent(chips))
        return [self._embedded(image, faces, vectors) for image, faces in zip(images, found, strict=True)]

    def prompt_fidelity(self, embedded: Sequence[Embedded], prompts: Sequence[str]) -> list[float | None]:
        """Faces say nothing about words."""
        return [None] * len(prompts)

    def _described(self, image: Image.Image) -> list[Face]:
        faces = self._finder.find_all(image, self._minimum_score)
        large = [face for face in faces if face.size_px >= OTHER_FACE_SHARE * faces[0].size_px][:MOST_FACES]
        return [self._finder.describe(image, face) for face in large]

    def _embedded(self, image: Image.Image, faces: list[Face], vectors: Iterator[tuple[float, ...]]) -> Embedded:
        if not faces:
            return Embedded(None, "no_face")
        extra = len(faces) > 1 and faces[1].size_px >= EXTRA_FACE_SHARE * faces[0].size_px
        known = [self._one(image, face, next(vectors)) for face in faces if not face.is_profile]
        if not known:
            return replace(self._one(image, faces[0], None), problem="profile_face")
        return replace(known[0], problem="extra_faces" if extra else None, others=tuple(known[1:]))

    def _one(self, image: Image.Image, face: Face, vector: tuple[float, ...] | None) -> Embedded:
        box = (face.left, face.top, face.right, face.bottom)
        return Embedded(
            vector,
            subject_size=face.size_px,
            labels=face.labels,
            labels_certain=face.turn is not None,
            beliefs=face.beliefs,
            sharpness=sharpness_of(image.crop((int(box[0]), int(box[1]), int(box[2]), int(box[3])))),
            box=box,
        )

    def _represent(self, chips: list[Any]) -> list[tuple[float, ...]]:
        if not chips:
            return []
        from deepface import DeepFace

        # DeepFace takes BGR, and answers a list of one picture with the bare answer instead of a list of answers.
        answers = DeepFace.represent(
            [np.ascontiguousarray(chip[:, :, ::-1]) for chip in chips],
            model_name=self._model.name,
            detector_backend="skip",
            align=False,
            enforce_detection=False,
        )
        rows = [answers] if len(chips) == 1 else answers
        return [tuple(float(value) for value in row[0]["embedding"]) for row in rows]


class ParallelFaceVerifier:
    """The same verifier in several processes: dlib holds Python's lock, so threads would not help."""

    def __init__(self, model: FaceModel, models_folder: Path, processes: int) -> None:
        self._local = FaceVerifier(model, models_folder)
        self._model = model
        self._folder = models_folder
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    @property
    def name(self) -> str:
        return self._local.name

    @property
    def version(self) -> str:
        return self._local.version

    @property
    def threshold_rule(self) -> ThresholdRule:
        return self._local.threshold_rule

    @property
    def sees_whole_picture(self) -> bool:
        return False

    def embed(self, images: Sequence[Image.Image]) -> list[Embedded]:
        """One result a picture, in order; the same as FaceVerifier gives."""
        if self._processes < 2 or (self._pool is None and len(images) < PARALLEL_FROM):
            return self._local.embed(images)
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes, get_context("spawn"), initializer=_open_in_worker, initargs=(self._model, self._folder)
            )
        return list(self._pool.map(_embed_in_worker, images, chunksize=2))

    def prompt_fidelity(self, embedded: Sequence[Embedded], prompts: Sequence[str]) -> list[float | None]:
        """Faces say nothing about words."""
        return [None] * len(prompts)

    def close(self) -> None:
        """Ends the worker processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


_worker: list[FaceVerifier] = []


def _open_in_worker(model: FaceModel, models_folder: Path) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    leave_with_parent()  # one that was killed cannot end its workers
    import cv2

    cv2.setNumThreads(1)  # there is a process for every core already
    _worker.append(FaceVerifier(model, models_folder))


def _embed_in_worker(image: Image.Image) -> Embedded:
    return _worker[0].embed([image])[0]


@contextmanager
def open_face_verifier(model_name: str, models_folder: Path, processes: int) -> Iterator[ParallelFaceVerifier]:
    """A context that holds the face verifier; `model_name` is one of FACE_MODELS."""
    verifier = ParallelFaceVerifier(FACE_MODELS[model_name], models_folder, processes)
    try:
        yield verifier
    finally:
        verifier.close()
