"""Readers of angle, expression and pose: `face` for people, or a trained classifier folder.

A trained reader is an ordinary transformers image classifier whose label names read `group=value`, such as `angle=front`;
each group is decided by itself.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from PIL import Image

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Labels
from flenwheel_core.identity.protocols import Beliefs, Reader
from flenwheel_core.models.references import ModelRole, resolve_model

BATCH = 32
CERTAIN = 0.5
"""A group whose best value has a lower probability is left unknown."""


class FaceReader:
    """Angle and expression of people from their faces: silent where none is found; coarse without the weights of `people_weights`."""

    def __init__(self, minimum_score: float) -> None:
        from flenwheel_core.identity.faces import FaceFinder

        self._finder = FaceFinder()
        self._minimum_score = minimum_score

    @property
    def model(self) -> str:
        return "face"

    def read(self, images: Sequence[Image.Image]) -> list[Labels]:
        """The angle and the expression of each picture's largest face."""
        return [labels for labels, _ in self.look(images)]

    def look(self, images: Sequence[Image.Image]) -> list[tuple[Labels, Beliefs]]:
        """The same, and how sure each reading is."""
        return [self._look(image) for image in images]

    def _look(self, image: Image.Image) -> tuple[Labels, Beliefs]:
        faces = self._finder.find(image, self._minimum_score)
        if not faces:
            return Labels(), {}
        face = self._finder.describe(image, faces[0])
        return face.labels, face.beliefs


class ClassifierReader:
    """A transformers image classifier with grouped labels. Runs on the CPU."""

    def __init__(self, folder: Path, reference: str, threads: int | None) -> None:
        import torch
        import transformers

        transformers.utils.logging.disable_progress_bar()
        if threads is not None:
            torch.set_num_threads(threads)
        config = json.loads((folder / "config.json").read_text())
        self._groups = _groups(config.get("id2label", {}), folder)
        architecture = (config.get("architectures") or ["AutoModelForImageClassification"])[0]
        kind = getattr(transformers, architecture)
        self._torch = torch
        self._processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        self._network = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True).float().eval()
        self._reference = reference

    @property
    def model(self) -> str:
        return self._reference

    def read(self, images: Sequence[Image.Image]) -> list[Labels]:
        """What each picture shows; None where the classifier is not sure."""
        return [labels for labels, _ in self.look(images)]

    def look(self, images: Sequence[Image.Image]) -> list[tuple[Labels, Beliefs]]:
        """The same, and the probability of each value."""
        found: list[tuple[Labels, Beliefs]] = []
        for start in range(0, len(images), BATCH):
            inputs = self._processor(images=list(images[start : start + BATCH]), return_tensors="pt")
            with self._torch.inference_mode():
                logits = self._network(pixel_values=inputs["pixel_values"]).logits
            found += [self._labels(row) for row in logits]
        return found

    def _labels(self, logits: "object") -> tuple[Labels, Beliefs]:
        values: dict[str, str] = {}
        beliefs: dict[str, float] = {}
        for group, members in self._groups.items():
            indices = [index for index, _ in members]
            shares = self._torch.softmax(logits[indices], dim=0)  # type: ignore[index]
            best = int(shares.argmax())
            if float(shares[best]) >= CERTAIN:
                values[group] = members[best][1]
                beliefs[group] = round(float(shares[best]), 4)
        return Labels.model_validate(values), beliefs


def _groups(names: dict[str, str], folder: Path) -> dict[str, list[tuple[int, str]]]:
    """Label indices and values by group; groups that are no field of Labels are left out."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for index, name in names.items():
        group, _, value = name.partition("=")
        if group in Labels.model_fields and value:
            groups.setdefault(group, []).append((int(index), value))
    if not groups:
        raise InputError(
            f"{folder} cannot be used as reader.",
            why="its labels are not of the form group=value, such as angle=front.",
            remedy="Name a reader that was trained for it, `nano`, or `face`.",
        )
    return groups


def open_reader(reference: str, settings: Settings) -> AbstractContextManager[Reader]:
    """A context that holds the reader. Raises MissingWeightsError before any picture is read."""
    return _open(reference, settings)


@contextmanager
def _open(reference: str, settings: Settings) -> Iterator[Reader]:
    from flenwheel_core.identity.verifiers import is_face

    if is_face(reference):
        from flenwheel_core.identity.face_verifier import MINIMUM_SCORE

        yield FaceReader(MINIMUM_SCORE)
        return
    folder = resolve_model(reference, ModelRole.READER, settings)
    yield ClassifierReader(folder, reference, settings.threads or os.cpu_count())
