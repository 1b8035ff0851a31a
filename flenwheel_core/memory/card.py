"""The card of this process: how much of it may be used, asked and enforced in one place."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from flenwheel_core.base.settings import Settings

GIB = 2**30
CONTEXT_GIB = 0.45
"""What the driver takes of a card for a process, beside the memory that torch gives out."""
RECORDED_GIB = 0.55
"""What it takes besides for steps recorded as CUDA graphs: 0.9 to 1.1 GiB with the context, at full size (dress_rehearsal.json)."""

FIXED_WORKSPACE = ":4096:8"
"""Of cuBLAS, for bit-equal repeats: its own documentation's choice."""


@dataclass(frozen=True)
class Card:
    """A CUDA card, and what this process may take of its memory."""

    device: "torch.device"
    total_gib: float
    usable_gib: float
    """For tensors: what the settings allow, or what is free if that is less, without the driver's own part."""


def open_card(settings: "Settings") -> Card | None:
    """The card of the settings; None where the work runs on processors.

    What another program (or the desktop) holds of the card counts as gone.
    """
    if settings.gpu == "cpu":  # importing torch takes seconds
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    device = torch.device("cuda", 0)
    total = torch.cuda.get_device_properties(device).total_memory / GIB
    allowed = min(total, settings.vram_gib or total) - CONTEXT_GIB
    free = torch.cuda.mem_get_info(device)[0] / GIB + torch.cuda.memory_reserved(device) / GIB
    return Card(device, total, max(0.0, min(allowed, free)))


def limit_process(settings: "Settings", *, records_graphs: bool = False, deterministic: bool = False) -> Card | None:
    """Keeps this process within what it may take of the card, whatever it opens: an allocation beyond raises torch's OutOfMemoryError.

    Pictures of several sizes leave gaps between blocks of fixed segments; growing segments have none. CUDA graphs (`records_graphs`) keep
    to fixed ones, for which the plans of training are measured, and the driver's memory for them is left free. For a `deterministic`
    process cuBLAS gets a fixed workspace, which it reads about once: before anything is multiplied.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", FIXED_WORKSPACE)
    if settings.gpu != "cpu" and not records_graphs:
        import torch

        torch.cuda.memory._set_allocator_settings("expandable_segments:True")
    card = open_card(settings)
    if card is not None:
        import torch

        given_gib = card.usable_gib - (RECORDED_GIB if records_graphs else 0.0)
        torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, given_gib) / card.total_gib), card.device)
    return card


def is_out_of_memory(error: BaseException) -> bool:
    """True for every way in which torch and CUDA's libraries say that the card is full."""
    said = str(error).lower()
    full = "out of memory" in said and "cuda" in said
    return type(error).__name__ == "OutOfMemoryError" or full or "cublas_status_alloc_failed" in said


def multiplies_fp8(device: "torch.device") -> bool:
    """True on Ada and later."""
    from flenwheel_core.kernels import kernel

    return kernel.multiplies_fp8(device)


def free_memory() -> None:
    """Give memory that nothing refers to back to the card."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
