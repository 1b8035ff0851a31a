"""Checks after loading that only those parts of a network are quantised that may be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_QUANTISED = ("Linear4bit", "Linear8bitLt")


def quantised_names(network: "torch.nn.Module") -> list[str]:
    """Names of the modules whose class says that they are quantised."""
    return [name for name, module in network.named_modules() if type(module).__name__ in _QUANTISED]


def require_unquantised(network: "torch.nn.Module", parts: Sequence[str]) -> None:
    """Raises RuntimeError if anything of these parts (the beginnings of names, at a dot) is quantised.

    Libraries match the names that are to be spared in ways that changed with their versions, and say nothing where none fits. So the
    classes are looked at, once, after loading.
    """
    wrong = [name for name in quantised_names(network) if any(f"{name}.".startswith(f"{part}.") for part in parts)]
    if wrong:
        raise RuntimeError(f"{len(wrong)} linears were quantised that must not be, such as {wrong[0]}")
