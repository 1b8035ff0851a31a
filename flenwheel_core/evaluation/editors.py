"""Editors on held-out edits: is the character kept, the instruction followed, the rest left alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.images import Labels, LoraUse
from flenwheel_core.requests.edit_compare import EditorScorecard, EditScore

BLOCK_PX = 8
KEPT_LEVELS = 6.0
"""A block whose pixels the right answer moves by fewer levels of 255 on average is left unchanged by the edit."""
SMALLEST_KEPT_SHARE = 0.05
NEARNESS_SIDE = 128
"""Pictures are compared with corrections at this size of their longer side, px."""
NEARNESS_SHIFT = 4
"""So many of these pixels an edit may be shifted against the answers."""
_LUMINANCE_CONSTANT, _CONTRAST_CONSTANT = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Pixels = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """How near an edit is to the right answer, and to its source where that must stay."""

    target_error: float
    kept_psnr_db: float | None
    kept_ssim: float | None


def measure_edit(source: Image.Image, target: Image.Image, made: Image.Image) -> Measured:
    """All three are compared at the size of the edit.

    PSNR and SSIM (Wang et al. 2004, block windows) are taken only where the right answer keeps the source.
    """
    before, right, got = (_pixels(image, made.size) for image in (source, target, made))
    error = float(np.abs(got - right).mean())
    one, wanted, other = _blocks(before), _blocks(right), _blocks(got)
    kept = np.abs(wanted - one).mean(axis=(1, 2)) < KEPT_LEVELS
    if kept.mean() < SMALLEST_KEPT_SHARE:
        return Measured(error, None, None)
    squared = float(((one[kept] - other[kept]) ** 2).mean())
    psnr = 10 * float(np.log10(255**2 / max(squared, 1e-3)))
    return Measured(error, min(psnr, 60.0), float(_ssim(one[kept], other[kept]).mean()))


def nearness(rejected: Image.Image, target: Image.Image, made: Image.Image) -> float | None:
    """Levels of 255 by which an edit is nearer to the right answer than to the edit that was rejected; negative: farther.

    Taken only where the correction changed the picture, and forgiving a shift: another seed puts a face a little elsewhere, which moves
    it away from both answers alike. An edit's mere distance to the corrected picture says less: edits that follow their prompt were
    seen to be no nearer to it than those that do not. None if the correction changed nothing.
    """
    scale = NEARNESS_SIDE / max(made.size)
    size = (max(1, round(made.width * scale)), max(1, round(made.height * scale)))
    refused, right, got = (_pixels(image, size) for image in (rejected, target, made))
    corrected = np.abs(right - refused).mean(axis=2) >= KEPT_LEVELS
    if not corrected.any():
        return None
    rows, columns = np.nonzero(corrected)

    def distance(answer: Pixels) -> float:
        found = []
        for down in range(-NEARNESS_SHIFT, NEARNESS_SHIFT + 1):
            for across in range(-NEARNESS_SHIFT, NEARNESS_SHIFT + 1):
                moved = got[np.clip(rows + down, 0, size[1] - 1), np.clip(columns + across, 0, size[0] - 1)]
                found.append(float(np.abs(moved - answer[rows, columns]).mean()))
        return min(found)

    return distance(refused) - distance(right)


def followed(asked: Labels, seen: Labels) -> bool | None:
    """True if everything both know agrees, None if they share nothing."""
    pairs = [(getattr(asked, field), getattr(seen, field)) for field in Labels.model_fields]
    known = [wanted == found for wanted, found in pairs if wanted is not None and found is not None]
    return all(known) if known else None


def readable(asked: Labels, in_answer: Labels) -> Labels:
    """What was asked for, less what the reader misreads in the right answer too (a mouth behind hair): there it cannot tell."""
    wrong = [
        field
        for field in Labels.model_fields
        if getattr(in_answer, field) is not None and getattr(in_answer, field) != getattr(asked, field)
    ]
    return asked.model_copy(update=dict.fromkeys(wrong))


def edit_scorecard(loras: tuple[LoraUse, ...], edits: Sequence[EditScore]) -> EditorScorecard:
    """The figures over all edits of one editor."""
    passes = wilson(sum(edit.passed for edit in edits), len(edits))
    return EditorScorecard(
        loras=loras,
        edits=tuple(edits),
        pass_rate=round(passes.value, 5),
        pass_rate_low=round(passes.low, 5),
        pass_rate_high=round(passes.high, 5),
        identity=_mean([edit.identity for edit in edits]),
        followed_rate=_mean([None if edit.followed is None else float(edit.followed) for edit in edits]),
        target_error=_mean([edit.target_error for edit in edits]),
        nearness=_mean([edit.nearness for edit in edits]),
        kept_psnr_db=_mean([edit.kept_psnr_db for edit in edits]),
        kept_ssim=_mean([edit.kept_ssim for edit in edits]),
    )


def _pixels(image: Image.Image, size: tuple[int, int]) -> Pixels:
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX), dtype=np.float64)


def _blocks(pixels: Pixels) -> Pixels:
    """(blocks, 64, 3) of a picture (rows, columns, 3)."""
    rows, columns = pixels.shape[0] // BLOCK_PX, pixels.shape[1] // BLOCK_PX
    cut = pixels[: rows * BLOCK_PX, : columns * BLOCK_PX]
    parts = cut.reshape(rows, BLOCK_PX, columns, BLOCK_PX, 3).transpose(0, 2, 1, 3, 4)
    return parts.reshape(rows * columns, BLOCK_PX * BLOCK_PX, 3)


def _ssim(first: Pixels, second: Pixels) -> Pixels:
    """Structural similarity of each block and channel."""
    a, b = first.mean(axis=1), second.mean(axis=1)
    variances = first.var(axis=1) + second.var(axis=1)
    covariance = ((first - a[:, None]) * (second - b[:, None])).mean(axis=1)
    light = (2 * a * b + _LUMINANCE_CONSTANT) / (a**2 + b**2 + _LUMINANCE_CONSTANT)
    similar: Pixels = light * (2 * covariance + _CONTRAST_CONSTANT) / (variances + _CONTRAST_CONSTANT)
    return similar


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 5) if known else None
