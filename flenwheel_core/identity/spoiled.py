"""Faces that a generator spoiled: pulled about, melted, doubled, with skin like wax. Identity and sharpness let many of them pass.

Linear heads, each at most a few thousand numbers. For the nano world one on hidden states of the nano reader. For photographs two: on
the gradients of the aligned face, and on how fine its texture is; the likelier of both counts. They say how likely a face is spoiled,
and are shifted so that 0.5 is where good pictures of their training were lost at the rate that `benchmarks.lab.spoiled_heads` fitted
them for. What they miss on held-out pictures is measured (docs/measurements/several.md); hands and writing are not looked at.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.base.settings import Settings
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.style_verifier import STYLE
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.model_files import require_loadable

READER_LAYERS = (3, 4, 5)
"""Hidden states of the reader that the head sees: later ones were trained to look past bent pictures."""
BATCH = 32
SIDE_PX = 96
"""The aligned face is looked at in this size: about that of the smallest face that is judged."""
CELLS, DIRECTIONS = 8, 8
SKIN_PX, SKIN_FROM_PX = 128, 96
"""Texture is looked at with the face this high; a face below the second was enlarged too much to have any."""
SKIN_INSET = (0.15, 0.95, 0.12, 0.88)
"""The part of the face's box that is mostly skin: top, bottom, left and right."""
SKIN_BANDS = (0.7, 1.4, 2.8, 5.6)
"""Blurs, in pixels of that face; what lies between two of them is a band, and the coarsest is what the finer ones are held against."""
SKIN_LEFT = 0.75
"""Of a face at the picture's edge so much of that part must be seen: what is not there has no texture."""
SKIN_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995)
HEADS = Path(__file__).parent / "heads"


class SpoilDetector(Protocol):
    """Says how likely the face of a picture is spoiled."""

    def chances(self, images: Sequence[Image.Image], embedded: Sequence[Embedded]) -> list[float | None]:
        """One value a picture, 0 to 1; None where no face can be judged."""
        ...


class Head:
    """A logistic head: weights (features,) and a bias."""

    def __init__(self, path: Path) -> None:
        from safetensors.numpy import load_file

        kept = load_file(path)
        self._weights = kept["weights"].astype(np.float64)
        self._bias = float(kept["bias"][0])

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The chances of features (pictures, features)."""
        logits = features @ self._weights + self._bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))))


class NanoSpoilDetector:
    """For the drawn characters of the nano world, whole pictures at once."""

    def __init__(self, threads: int | None, head: Path | None = HEADS / "nano.safetensors") -> None:
        """Without a head it gives features only: for training one."""
        import torch
        import transformers

        if threads is not None:
            torch.set_num_threads(threads)
        transformers.utils.logging.disable_progress_bar()
        self._torch = torch
        folder = weights_folder("reader")
        require_loadable(folder, "nano")
        self._processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        kind = transformers.Dinov2ForImageClassification
        model = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._network = model.float().eval()
        self._head = None if head is None else Head(head)

    def chances(self, images: Sequence[Image.Image], embedded: Sequence[Embedded]) -> list[float | None]:
        """One value a picture."""
        assert self._head is not None, "a detector without a head gives features only"
        found: list[float | None] = []
        for start in range(0, len(images), BATCH):
            pixels = self._processor(images=list(images[start : start + BATCH]), return_tensors="pt")["pixel_values"]
            found += [round(float(value), 4) for value in self._head(self.features(pixels))]
        return found

    def features(self, pixels: Any) -> NDArray[np.float64]:
        """Class token and mean token of the layers, (batch, layers x 2 x width), of pixels (batch, 3, 128, 128) in -1 to 1."""
        with self._torch.inference_mode():
            states = self._network.dinov2(pixels, output_hidden_states=True).hidden_states
            parts = [part for layer in READER_LAYERS for part in (states[layer][:, 0], states[layer][:, 1:].mean(1))]
            return np.asarray(self._torch.cat(parts, 1).numpy(), np.float64)


class FaceSpoilDetector:
    """For photographs: the face that the verifier found, upright and centred; and its skin."""

    def __init__(
        self, heads: tuple[Path, Path] | None = (HEADS / "faces.safetensors", HEADS / "skin.safetensors")
    ) -> None:
        """Without heads it gives features only: for training them."""
        import dlib

        from flenwheel_core.identity.face_weights import LANDMARKS, package_file

        self._dlib: Any = dlib
        self._predictor = dlib.shape_predictor(str(package_file(LANDMARKS)))
        self._heads = None if heads is None else tuple(Head(head) for head in heads)

    def chances(self, images: Sequence[Image.Image], embedded: Sequence[Embedded]) -> list[float | None]:
        """One value a picture; None without a face, and for one that is too small or turned too far to be judged."""
        return [self._chance(image, one) for image, one in zip(images, embedded, strict=True)]

    def _chance(self, image: Image.Image, one: Embedded) -> float | None:
        if one.box is None or one.embedding is None or (one.subject_size or 0) < SIDE_PX * 2 // 3:
            return None
        assert self._heads is not None, "a detector without heads gives features only"
        shape, skin = self._heads
        chance = shape(self.features(image, one.box)[None])[0]
        seen = texture(image, one.box) if (one.subject_size or 0) >= SKIN_FROM_PX else None
        if seen is not None:
            chance = max(chance, skin(seen[None])[0])
        return round(float(chance), 4)

    def features(self, image: Image.Image, box: tuple[float, float, float, float]) -> NDArray[np.float64]:
        """What the head sees of the face in `box`, in pixels of the picture."""
        pixels = np.asarray(image.convert("RGB"))
        shape = self._predictor(pixels, self._dlib.rectangle(*(round(side) for side in box)))
        return gradients(np.asarray(self._dlib.get_face_chip(pixels, shape, 150, 0.25)))


def gradients(chip: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of an aligned face (150, 150, 3): how much each of 8 x 8 cells changes in each of 8 directions, scaled to length 1; and how
    strong the changes of each cell are against the whole, as logarithms. (576,)"""
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(chip), cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength, angle = np.hypot(across, down), np.mod(np.arctan2(down, across), np.pi)
    place = angle / np.pi * DIRECTIONS
    lower, share = np.floor(place).astype(int) % DIRECTIONS, place - np.floor(place)
    bins = np.zeros((DIRECTIONS, SIDE_PX, SIDE_PX), np.float32)
    rows, columns = np.indices(grey.shape)
    bins[lower, rows, columns] += strength * (1 - share)
    bins[(lower + 1) % DIRECTIONS, rows, columns] += strength * share
    step = SIDE_PX // CELLS
    cells = bins.reshape(DIRECTIONS, CELLS, step, CELLS, step).sum(axis=(2, 4)).reshape(DIRECTIONS, -1).T
    energy = cells.sum(axis=1)
    shape = cells / (energy[:, None] + energy.mean() * 0.3 + 1e-6)
    return np.concatenate([shape.reshape(-1), np.log((energy + 1) / (energy.mean() + 1))]).astype(np.float64)


def texture(image: Image.Image, box: tuple[float, float, float, float]) -> NDArray[np.float64] | None:
    """Of the face in `box`: how strong its finest, finer and fine differences are (three bands, seven quantiles of each), against
    those of its shape; as logarithms. Light and contrast cancel. Wax has edges as ever, and little in between. (21,)

    Only what the picture shows is looked at: black beyond its edge would be texture. None if too little of the face is left."""
    import cv2

    left, top, right, bottom = (int(side) for side in box)
    scale = SKIN_PX / (bottom - top)
    shown = (max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
    if shown[0] >= shown[2] or shown[1] >= shown[3]:
        return None
    face = np.asarray(image.convert("L").crop(shown)).astype(np.float32)
    size = (max(8, round(face.shape[1] * scale)), max(8, round(face.shape[0] * scale)))
    face = np.asarray(cv2.resize(face, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))
    wide, high = max(8, round((right - left) * scale)), SKIN_PX
    first, last, near, far = (
        int(share * side) for share, side in zip(SKIN_INSET, (high, high, wide, wide), strict=True)
    )
    across, down = round((shown[0] - left) * scale), round((shown[1] - top) * scale)
    whole = (last - first) * (far - near)
    face = face[max(first - down, 0) : max(last - down, 0), max(near - across, 0) : max(far - across, 0)]
    if face.size < SKIN_LEFT * whole:
        return None
    blurred = [face, *(np.asarray(cv2.GaussianBlur(face, (0, 0), width)) for width in SKIN_BANDS)]
    bands = [np.abs(fine - coarse) for fine, coarse in itertools.pairwise(blurred)]
    shape = np.log(np.quantile(bands[-1], 0.9) + 0.5)
    quantiles = [np.log(np.quantile(band, SKIN_QUANTILES) + 0.05) - shape for band in bands[:-1]]
    return np.concatenate(quantiles).astype(np.float64)


@contextmanager
def open_spoil_detector(reader: str | None, verifier: str, settings: Settings) -> Iterator[SpoilDetector | None]:
    """The detector for what these models look at; None where there is none, as for other drawings, animals and styles."""
    from flenwheel_core.identity.verifiers import is_face

    if verifier == STYLE:  # what is painted loosely looks spoiled to a detector that knows photographs and drawings
        yield None
    elif is_face(verifier):
        yield FaceSpoilDetector()
    elif reader is not None and reader.partition("@")[0] == "nano":
        yield NanoSpoilDetector(settings.threads)
    else:
        yield None
