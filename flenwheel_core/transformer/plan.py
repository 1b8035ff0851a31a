"""How a fast transformer is built: how its weights are stored, what is recomputed, which linears have adapters."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.kernels.table import kernel_line

OTHER_MODULES = "kernels: none of ours, diffusers' own modules compute everything"
"""What the log says where no fast transformer is built."""


@dataclass(frozen=True)
class FastPlan:
    """How the weights are stored and what is recomputed in the backward pass."""

    storage: Storage = "dense"
    modulation: Storage = "dense"
    keep_transposed: bool = False
    """Keep fp8 weights transposed too: no transposing in the backward pass, at one more byte a weight."""
    compact: bool = True
    """Keep linear inputs in fp8 for the adapters' gradients."""
    recompute: tuple[int, ...] = ()
    """So many blocks of each kind, from the first, are recomputed in the backward pass; kinds that are not named keep all."""
    compile: bool = True
    cudnn: bool = True

    def recomputed(self, kind: int) -> int:
        """How many blocks of this kind are recomputed."""
        return self.recompute[kind] if kind < len(self.recompute) else 0

    def kernel_line(self, device: torch.device) -> str:
        """A line for the log: which kernels run on this device with this plan, which do not, and why."""
        return kernel_line(device, weights=(self.storage, self.modulation), cudnn=self.cudnn)


@dataclass(frozen=True)
class AdapterPlan:
    """Rank and scale of each linear with an adapter, by module name."""

    ranks: Mapping[str, int] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    """float32 masters are trained; what is only worn takes half of it."""


NO_ADAPTERS = AdapterPlan()
