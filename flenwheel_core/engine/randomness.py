"""Random numbers that depend on (seed, purpose, step, item) only, never on what was drawn before."""

import torch

from flenwheel_core.base.ids import derive_seed


def _generator(seed: int, *parts: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, *parts))


def normal(shape: tuple[int, ...], seed: int, *parts: str | int) -> torch.Tensor:
    """Standard normal numbers of `shape`, float32, on the CPU: the same on every device and after every resume."""
    return torch.randn(shape, generator=_generator(seed, *parts), dtype=torch.float32)


def uniform(seed: int, *parts: str | int) -> float:
    """One number in [0, 1)."""
    return derive_seed(seed, *parts) / 2**63


def permutation(length: int, seed: int, *parts: str | int) -> list[int]:
    """An order of `range(length)`."""
    return torch.randperm(length, generator=_generator(seed, *parts)).tolist()
