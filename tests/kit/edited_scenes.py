"""Scenes with a figure, edits of them, and triplets of both."""

import numpy as np
from PIL import Image, ImageDraw

from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture


def scene(side: int = 160, background: str = "navy", shift: int = 0, zoom: float = 1.0) -> Image.Image:
    """A textured scene with a figure; the figure and the texture move and grow together."""
    big = Image.new("RGB", (side * 2, side * 2), background)
    draw = ImageDraw.Draw(big)
    random = np.random.default_rng(3)
    for _ in range(120):
        x, y, r = (int(v) for v in random.integers((0, 0, 4), (side * 2, side * 2, 26)))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(int(v) for v in random.integers(0, 255, 3)))
    inner = side / zoom
    left = side - inner / 2 + shift
    top = side - inner / 2
    return big.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + inner, top + inner))


def relit(image: Image.Image) -> Image.Image:
    array = np.asarray(image, dtype=np.float32) * np.array([1.1, 0.9, 0.7])
    return Image.fromarray(array.clip(0, 255).astype(np.uint8))


def with_patch(image: Image.Image, colour: str = "red") -> Image.Image:
    edited = image.copy()
    ImageDraw.Draw(edited).rectangle((40, 40, 90, 90), fill=colour)
    return edited


def kept(store: Store, image: Image.Image) -> str:
    record = ImageRecord(
        digest="0" * 64, width=1, height=1, kind=ImageKind.SOURCE, stage="ingest", request="1" * 64, item="a"
    )
    return save_picture(store, image, record).digest


def triplet(store: Store, source: Image.Image, target: Image.Image, prompt: str = "a red box") -> Triplet:
    return Triplet(
        source=kept(store, source),
        prompt=prompt,
        target=kept(store, target),
        kind="approved",
        character="ann",
        turn=1,
        gate="ann-t1-gate-a-r1",
        author="tester",
    )
