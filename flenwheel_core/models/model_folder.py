"""A model folder as diffusers writes it: where it lies, where its parts run, and how one part is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.memory.card import GIB, open_card
from flenwheel_core.models.digests import folder_digest
from flenwheel_core.models.references import digest_memory

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler
    from transformers import BitsAndBytesConfig

Part = TypeVar("Part", bound=torch.nn.Module)
TextFormat = Literal["bf16", "int8", "nf4"]
"""Storage of a text encoder."""


@dataclass(frozen=True)
class ModelFolder:
    """A model on this machine; a family adds how its encoder, autoencoder and transformer are loaded."""

    folder: Path
    reference: str
    device: torch.device
    dtype: torch.dtype
    budget_gib: float | None = None
    """Video memory for tensors; None on a CPU."""
    digests: Path | None = None
    """Where this machine remembers what files of weights hash to."""

    @classmethod
    def find(cls, folder: Path, reference: str, settings: Settings) -> Self:
        """The model in `folder`, on the card of the settings: bfloat16 there, float32 on a CPU."""
        card = open_card(settings)
        if card is None:
            return cls(folder, reference, torch.device("cpu"), torch.float32, digests=digest_memory(settings))
        return cls(folder, reference, card.device, torch.bfloat16, card.usable_gib, digest_memory(settings))

    def revision(self, part: str) -> str:
        """Digest of a part's weights and configuration."""
        return folder_digest(self.folder / part, self.digests)

    def part_gib(self, part: str) -> float:
        """Size of a part's weights as they lie on the disk."""
        return part_gib(self.folder / part)

    def load_part(self, kind: type[Part], part: str) -> Part:
        """A part of this class, frozen, in this model's dtype, on the CPU."""
        loads: Any = kind
        loaded: Part = loads.from_pretrained(
            self.folder / part, dtype=self.dtype, local_files_only=True, use_safetensors=True
        )
        return loaded.requires_grad_(False).eval()

    def load_scheduler(self) -> "FlowMatchEulerDiscreteScheduler":
        """The schedule of noise levels that the model is drawn with."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        scheduler: FlowMatchEulerDiscreteScheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(
            self.folder / "scheduler", local_files_only=True
        )
        return scheduler


def part_gib(folder: Path) -> float:
    """Size of the weights in a part's folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / GIB


def bitsandbytes_config(storage: TextFormat, dtype: torch.dtype) -> "BitsAndBytesConfig":
    """How transformers is to quantise an encoder while it loads."""
    from transformers import BitsAndBytesConfig

    if storage == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
