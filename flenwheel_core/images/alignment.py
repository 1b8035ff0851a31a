"""How far one picture lies shifted on another."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


ALIGN_SIDE_PX = 256


def align(first: "Image", second: "Image") -> tuple[float, float]:
    """How far the second picture is shifted against the first, as a share of the side, and their correlation after that shift.

    Phase correlation of the grey pictures: Kuglin and Hines, 1975.
    """
    import numpy as np

    size = (ALIGN_SIDE_PX, ALIGN_SIDE_PX)
    a = np.asarray(first.convert("L").resize(size), dtype=np.float64)
    b = np.asarray(second.convert("L").resize(size), dtype=np.float64)
    window = np.outer(np.hanning(ALIGN_SIDE_PX), np.hanning(ALIGN_SIDE_PX))
    spectrum = np.fft.fft2((a - a.mean()) * window) * np.conj(np.fft.fft2((b - b.mean()) * window))
    surface = np.fft.ifft2(spectrum / np.maximum(np.abs(spectrum), 1e-9)).real
    row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    down = int(row) if row <= ALIGN_SIDE_PX // 2 else int(row) - ALIGN_SIDE_PX
    right = int(column) if column <= ALIGN_SIDE_PX // 2 else int(column) - ALIGN_SIDE_PX
    best = max(((0, 0), (down, right)), key=lambda move: _correlation(a, np.roll(b, move, axis=(0, 1))))
    moved = np.roll(b, best, axis=(0, 1))
    return float(np.hypot(*best)) / ALIGN_SIDE_PX, _correlation(a, moved)


def _correlation(a: "NDArray[np.float64]", b: "NDArray[np.float64]") -> float:
    import numpy as np

    left, right = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float((left * right).sum()) / scale if scale > 0 else 0.0
