"""Loading the parts of a FLUX.2 klein model, each only while it is needed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.memory.card import free_memory, open_card
from flenwheel_core.memory.quantising import require_unquantised
from flenwheel_core.models.digests import folder_digest
from flenwheel_core.models.references import digest_memory

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )

TextFormat = Literal["bf16", "int8", "nf4"]
_HEAD = "lm_head"
"""Stays in bfloat16: it is tied to the embeddings in the 4B model, and not used."""


@dataclass(frozen=True)
class Flux2Model:
    """A klein folder on this machine and where its parts run."""

    folder: Path
    reference: str
    device: torch.device
    dtype: torch.dtype
    budget_gib: float | None = None
    """Video memory for tensors; None on a CPU."""
    digests: Path | None = None
    """Where this machine remembers what files of weights hash to."""

    @property
    def is_distilled(self) -> bool:
        """Distilled models draw without classifier-free guidance, whatever is asked for."""
        index = json.loads((self.folder / "model_index.json").read_text())
        return bool(index.get("is_distilled", False))

    def revision(self, part: str) -> str:
        """Digest of a part's weights and configuration."""
        return folder_digest(self.folder / part, self.digests)

    @contextmanager
    def text_encoder(self, storage: TextFormat = "bf16") -> "Iterator[Flux2KleinPipeline]":
        """A pipeline that can only encode prompts; the encoder leaves the card afterwards."""
        from diffusers import Flux2KleinPipeline

        quantised = (
            {} if storage == "bf16" or self.device.type != "cuda" else {"text_encoder": _quantised(self, storage)}
        )
        pipeline = Flux2KleinPipeline.from_pretrained(
            self.folder,
            transformer=None,
            vae=None,
            dtype=self.dtype,
            local_files_only=True,
            use_safetensors=True,
            **quantised,
        )
        encoder = pipeline.text_encoder.requires_grad_(False).eval()
        if not quantised:
            encoder.to(self.device)
        try:
            yield pipeline
        finally:
            del encoder
            pipeline.text_encoder = None
            free_memory()

    def load_vae(self) -> "AutoencoderKLFlux2":
        """The VAE, on the CPU: it visits the card only to encode and decode."""
        from diffusers import AutoencoderKLFlux2

        vae: AutoencoderKLFlux2 = AutoencoderKLFlux2.from_pretrained(
            self.folder / "vae", dtype=self.dtype, local_files_only=True, use_safetensors=True
        )
        vae.requires_grad_(False).eval()
        return vae

    def load_transformer(self) -> "Flux2Transformer2DModel":
        """The transformer as it is on disk, in this model's dtype, on its device, frozen."""
        from diffusers import Flux2Transformer2DModel

        transformer: Flux2Transformer2DModel = Flux2Transformer2DModel.from_pretrained(
            self.folder / "transformer", dtype=self.dtype, local_files_only=True, use_safetensors=True
        )
        transformer.requires_grad_(False).eval()
        return transformer.to(self.device)

    def load_scheduler(self) -> "FlowMatchEulerDiscreteScheduler":
        from diffusers import FlowMatchEulerDiscreteScheduler

        scheduler: FlowMatchEulerDiscreteScheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(
            self.folder / "scheduler", local_files_only=True
        )
        return scheduler


def find_model(folder: Path, reference: str, settings: Settings) -> Flux2Model:
    """The model in `folder`, on the card of the settings: bfloat16 there, float32 on a CPU."""
    card = open_card(settings)
    if card is None:
        return Flux2Model(folder, reference, torch.device("cpu"), torch.float32, digests=digest_memory(settings))
    return Flux2Model(folder, reference, card.device, torch.bfloat16, card.usable_gib, digest_memory(settings))


def _quantised(model: Flux2Model, storage: TextFormat) -> object:
    from transformers import BitsAndBytesConfig, Qwen3ForCausalLM

    if storage == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=[_HEAD])
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=model.dtype,
            llm_int8_skip_modules=[_HEAD],
        )
    encoder = Qwen3ForCausalLM.from_pretrained(
        model.folder / "text_encoder",
        quantization_config=config,
        dtype=model.dtype,
        device_map={"": 0},
        local_files_only=True,
        use_safetensors=True,
    )
    require_unquantised(encoder, (_HEAD,))
    return encoder
