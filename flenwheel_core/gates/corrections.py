"""Corrected pictures: what is checked before one may teach the editor.

A correction replaces an edit, so it must have the edit's shape, lie on it pixel for pixel, and differ from it.
Not covered: whether it is better. That is what the person says by giving it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.images.decode import Limits, check_picture, decode
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture, save_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
from flenwheel_core.images.alignment import align

UPLOAD_LIMITS = Limits(maximum_megapixels=64, maximum_bytes=64 * 2**20)


ASPECT_TOLERANCE = 0.01


TILE_PX = 16


MOVED_LEVELS = 4.0
"""A tile whose mean colour moves by more levels of 255 has changed. Saving drawings as JPEG at quality 75 moved it by up to 3.6."""


REDRAWN_LEVELS = 14.0
"""So has one whose pixels differ by more on average, even around the same mean; JPEG at quality 75 moved them by up to 10.7."""


SHIFT_TOLERANCE = 0.02
"""A shift beyond this share of the side is a misaligned picture."""


SAME_SCENE = 0.25
"""Correlation below this, after the best shift, means another picture altogether."""


class CorrectionCheck(Document):
    """What the checks of an accepted correction measured."""

    width: int
    height: int
    resized: bool = Field(description="it had the edit's aspect but another size, and was scaled to fit")
    shift_share: float = Field(description="how far it lies from the edit, in shares of the side")
    correlation: float = Field(description="how like the edit it is after that shift, -1 to 1")
    changed_share: float = Field(description="share of the picture that differs visibly")
    notes: tuple[str, ...] = ()


def accept_correction(
    store: Store, data: bytes, name: str, edit: ImageRecord, *, gate: str, request: str
) -> tuple[ImageRecord, CorrectionCheck]:
    """Checks, re-encodes and keeps a corrected picture. Raises InputError that says which check failed and by how much."""
    found = check_picture(data, name, UPLOAD_LIMITS)
    resized = _must_be_resized(found.size, edit)
    corrected = decode(data, name, replace(UPLOAD_LIMITS, size_px=(edit.width, edit.height))).image
    original = load_picture(store, edit.digest)
    changed = _changed_share(original, corrected)
    if changed == 0:
        raise InputError(
            "This is the edit itself, unchanged.",
            why="a correction teaches the editor by differing from what it made.",
            remedy="Upload the corrected picture, or mark the edit as good.",
        )
    shift, correlation = align(original, corrected)
    if correlation < SAME_SCENE:
        raise InputError(
            "This picture does not show the same scene as the edit.",
            why=f"their best match is {correlation:.2f}; {SAME_SCENE} is asked for.",
            remedy="Upload a retouched version of this very edit.",
        )
    if shift > SHIFT_TOLERANCE:
        raise InputError(
            "The corrected picture is shifted against the edit.",
            why=f"it lies {shift:.1%} of the side away; up to {SHIFT_TOLERANCE:.0%} is fine.",
            remedy="Export it from the retouching program without cropping or moving it.",
        )
    record = ImageRecord(
        digest="0" * 64,
        width=edit.width,
        height=edit.height,
        kind=ImageKind.CORRECTED,
        parents=(*edit.parents, edit.digest),
        prompt=edit.prompt,
        caption=edit.caption,
        stage="review",
        request=request,
        item=f"{gate}-{edit.digest[:12]}",
        turn=edit.turn,
        template=edit.template,
        cell=edit.cell,
        labels=edit.labels,
    )
    check = CorrectionCheck(
        width=corrected.width,
        height=corrected.height,
        resized=resized,
        shift_share=round(shift, 4),
        correlation=round(correlation, 4),
        changed_share=round(changed, 4),
        notes=found.notes,
    )
    return save_picture(store, corrected, record), check


def _must_be_resized(size: tuple[int, int], edit: ImageRecord) -> bool:
    """Raises InputError if the correction has another aspect than the edit."""
    width, height = size
    if size == (edit.width, edit.height):
        return False
    aspect, wanted = width / height, edit.width / edit.height
    if abs(aspect / wanted - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"The corrected picture is {width}x{height}; the edit is {edit.width}x{edit.height}.",
            why="it has another aspect, so it cannot lie on the edit pixel for pixel.",
            remedy="Export it in the edit's size, uncropped.",
        )
    return True


def _changed_share(first: "Image", second: "Image") -> float:
    """The share of tiles that differ by more than saving the picture again would explain; 0 if none does."""
    import numpy as np

    difference = _pixels(first) - _pixels(second)
    rows, columns = max(1, difference.shape[0] // TILE_PX), max(1, difference.shape[1] // TILE_PX)
    cut = difference[: rows * TILE_PX, : columns * TILE_PX]
    tiles = cut.reshape(rows, cut.shape[0] // rows, columns, cut.shape[1] // columns, 3)
    moved = np.abs(tiles.mean(axis=(1, 3))).max(axis=2) > MOVED_LEVELS
    redrawn = np.abs(tiles).mean(axis=(1, 3, 4)) > REDRAWN_LEVELS
    return float((moved | redrawn).mean())


def _pixels(image: "Image") -> "NDArray[np.float32]":
    import numpy as np

    return np.asarray(image.convert("RGB"), dtype=np.float32)
