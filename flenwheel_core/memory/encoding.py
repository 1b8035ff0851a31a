"""How a text encoder is read: alone on the card, before the transformer comes; in bfloat16 where that fits, else in NF4."""

from typing import Literal

from flenwheel_core.base.errors import ResourceError

EncoderFormat = Literal["bf16", "nf4"]
NF4_SHARE = 0.40
"""Of the size in bfloat16: embeddings and what must stay exact stay as they are."""
TEXT_GIB = 0.6
"""Activations for prompts alone."""


def encoding_gib(size_gib: float, storage: EncoderFormat, *, working_gib: float = TEXT_GIB) -> float:
    """Memory while an encoder reads, whose weights have this size in bfloat16; a small one works with less, too."""
    return size_gib * (NF4_SHARE if storage == "nf4" else 1.0) + min(working_gib, size_gib / 8)


def choose_encoder(
    size_gib: float, usable_gib: float, memory_level: int = 0, *, working_gib: float = TEXT_GIB
) -> EncoderFormat:
    """bfloat16, or NF4 where that does not fit or memory ran out before. Raises ResourceError if NF4 does not fit."""
    if memory_level == 0 and encoding_gib(size_gib, "bf16", working_gib=working_gib) <= usable_gib:
        return "bf16"
    least = encoding_gib(size_gib, "nf4", working_gib=working_gib)
    if least <= usable_gib:
        return "nf4"
    raise ResourceError(
        f"The text encoder needs {least:.1f} GiB of video memory, and {usable_gib:.1f} GiB may be used.",
        why="even in 4 bits it does not fit the card.",
        remedy="Use a card with more memory, raise vram_gib, or name a smaller model in the recipe's [models].",
    )
