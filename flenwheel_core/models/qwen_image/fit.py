"""Does the editor fit? Its storage on the card, and the memory and disk that loading takes. Nothing is loaded to find out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import ResourceError

if TYPE_CHECKING:
    from flenwheel_core.documents.storages import EditorStorage

SHARE_OF_BF16: "dict[EditorStorage, float]" = {"bf16": 1.0, "fp8": 0.51, "int8": 0.53, "nf4": 0.29}
_WORKING_GIB = 3.0
"""Activations of one call at 1 MP with one reference, and the autoencoder beside it."""


def choose_storage(
    sizes_gib: dict[str, float],
    budget_gib: float,
    wanted: "EditorStorage | None" = None,
    order: "Sequence[EditorStorage]" = ("bf16", "nf4"),
) -> "EditorStorage":
    """The storage that was asked for, or the first of `order` whose largest part fits `budget_gib`.

    `sizes_gib` are the parts in bfloat16; they are never on the card together. Raises ResourceError if nothing fits.
    """
    possible = (wanted,) if wanted is not None else tuple(order)
    largest = max(sizes_gib, key=lambda part: sizes_gib[part])
    need = 0.0
    for storage in possible:
        need = sizes_gib[largest] * SHARE_OF_BF16[storage] + min(_WORKING_GIB, sizes_gib[largest] / 4)
        if need <= budget_gib:
            return storage
    raise ResourceError(
        f"Qwen-Image does not fit the card: it needs about {need:.0f} GiB, and {budget_gib:.0f} GiB may be used.",
        why=f"its {largest} alone is {sizes_gib[largest] * SHARE_OF_BF16[possible[-1]]:.1f} GiB in {possible[-1]}.",
        remedy="Use a card with more memory, raise vram_gib, "
        + ("leave the editor's storage to be chosen," if wanted not in (None, "nf4") else "")
        + " or name a smaller editor in the recipe's [models] table.",
    )


def check_memory(needed_gib: float, free_gib: float) -> None:
    """Raises ResourceError if the largest file of weights does not fit this machine's free memory."""
    if needed_gib > free_gib:
        raise ResourceError(
            f"Loading Qwen-Image needs {needed_gib:.0f} GiB of memory, and {free_gib:.0f} GiB are free.",
            why="weights come from disk file by file, and the largest file must fit.",
            remedy="Close other programs, or add memory or swap.",
        )


def free_memory_gib() -> float:
    """Memory a program can have without swapping, from the kernel's own estimate."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 2**20
