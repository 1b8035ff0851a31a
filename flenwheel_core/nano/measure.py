"""Measures with the nano models: who is in pictures, what they show, how well that fits what was asked for.

For benchmarks and tests, on the CPU unless another device is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoImageProcessor, Dinov2ForImageClassification

from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.model_files import require_loadable
from flenwheel_core.nano.world import Expectation

BATCH = 32
VIEW_FACTS = ("pose", "expression", "angle", "background", "lighting", "style")

Vectors = NDArray[np.float32]
Reading = dict[str, str]
"""What a picture shows, by label, such as `{"angle": "front", "hair_colour": "red", ...}`."""


class NanoEyes:
    """A small vision model of a nano folder, looking at many pictures."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require_loadable(folder, folder.name)
        self._device = device
        self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        model = Dinov2ForImageClassification.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model = model.float().eval().to(device)
        self.names: dict[int, str] = self._model.config.id2label

    @torch.inference_mode()
    def look(self, images: Sequence[Image.Image]) -> Vectors:
        """Logits (pictures, classes)."""
        found = []
        for start in range(0, len(images), BATCH):
            inputs = self._processor(images=list(images[start : start + BATCH]), return_tensors="pt")
            logits = self._model(pixel_values=inputs["pixel_values"].to(self._device)).logits
            found.append(logits.float().cpu().numpy())
        return np.concatenate(found)


class NanoEmbedder:
    """Who is in pictures: unit vectors whose dot product says how alike two characters are."""

    def __init__(self, folder: Path | None = None, device: str = "cpu") -> None:
        self._eyes = NanoEyes(folder or weights_folder("embedder"), device)

    def embed(self, images: Sequence[Image.Image]) -> Vectors:
        """(pictures, 64), rows of unit length."""
        vectors = self._eyes.look(images)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


class NanoReader:
    """What pictures show: the view, and the character's attributes."""

    def __init__(self, folder: Path | None = None, device: str = "cpu") -> None:
        self._eyes = NanoEyes(folder or weights_folder("reader"), device)
        self._groups: dict[str, list[tuple[int, str]]] = {}
        for index, name in self._eyes.names.items():
            group, _, value = name.partition("=")
            self._groups.setdefault(group, []).append((int(index), value))

    def read(self, images: Sequence[Image.Image]) -> list[Reading]:
        """The most likely value of every label, for each picture."""
        logits = self._eyes.look(images)
        return [
            {
                group: members[int(np.argmax(row[[index for index, _ in members]]))][1]
                for group, members in self._groups.items()
            }
            for row in logits
        ]


def facts_of(expectation: Expectation) -> Reading:
    """What a caption asks for, as a reading: the view's facts and the attributes that are said."""
    facts = {name: value for name in VIEW_FACTS if (value := getattr(expectation, name)) is not None}
    if expectation.clothing is not None:
        facts["clothing"] = expectation.clothing
    for name, value in expectation.attributes.said().items():
        facts.setdefault(name, {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value)
    return facts


def shares_right(expected: Sequence[Mapping[str, str]], found: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """For each label the share of pictures that show what was expected, among those where something was."""
    right: dict[str, list[bool]] = {}
    for wanted, seen in zip(expected, found, strict=True):
        for name, value in wanted.items():
            right.setdefault(name, []).append(seen.get(name) == value)
    return {name: float(np.mean(hits)) for name, hits in right.items()}


@dataclass(frozen=True)
class Verification:
    """How well similarities tell the same from different: equal error rate, its threshold, and mean similarities."""

    eer: float
    threshold: float
    same_mean: float
    different_mean: float


def verification(same: Iterable[float], different: Iterable[float]) -> Verification:
    """The equal error rate of similarities of pairs known to be the same and known to be different."""
    alike, unlike = np.sort(np.fromiter(same, float)), np.sort(np.fromiter(different, float))
    candidates = np.unique(np.concatenate((alike, unlike)))
    missed = np.searchsorted(alike, candidates, side="left") / len(alike)
    passed = 1 - np.searchsorted(unlike, candidates, side="left") / len(unlike)
    best = int(np.argmin(np.abs(missed - passed)))
    rate = float((missed[best] + passed[best]) / 2)
    return Verification(rate, float(candidates[best]), float(alike.mean()), float(unlike.mean()))


def verify_pairs(vectors: Vectors, owners: Sequence[int]) -> Verification:
    """`verification` over all pairs of embedded pictures (pictures, dimensions) with their owners."""
    similarity = vectors @ vectors.T
    names = np.asarray(owners)
    upper = np.triu(np.ones(similarity.shape, bool), 1)
    same = names[:, None] == names[None]
    return verification(similarity[upper & same], similarity[upper & ~same])
