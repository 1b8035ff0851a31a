"""Loading the parts of a FLUX.2 klein model, each only while it is needed."""

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.models.model_folder import ModelFolder

if TYPE_CHECKING:
    from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel

_HEAD = "lm_head"
"""Stays in bfloat16: it is tied to the embeddings in the 4B model, and not used."""


@dataclass(frozen=True)
class Flux2Model(ModelFolder):
    """A klein folder on this machine and where its parts run."""

    @property
    def is_distilled(self) -> bool:
        """Distilled models draw without classifier-free guidance, whatever is asked for."""
        index = json.loads((self.folder / "model_index.json").read_text())
        return bool(index.get("is_distilled", False))

    @property
    def text_places(self) -> int:
        """How many tokens the text encoder has places for: far more than prompts have, but in small models."""
        config = json.loads((self.folder / "text_encoder" / "config.json").read_text())
        return int(config["max_position_embeddings"])

    def text_encoder(self, storage: TextFormat = "bf16") -> "AbstractContextManager[Flux2KleinPipeline]":
        """A pipeline that can only encode prompts; the encoder leaves the card afterwards."""
        from diffusers import Flux2KleinPipeline
        from transformers import Qwen3ForCausalLM

        quantised = {}
        if storage != "bf16" and self.device.type == "cuda":
            quantised["text_encoder"] = self.load_quantised(Qwen3ForCausalLM, "text_encoder", storage, exact=(_HEAD,))
        return self.prompt_pipeline(Flux2KleinPipeline, quantised)

    def load_vae(self) -> "AutoencoderKLFlux2":
        """The VAE, on the CPU: it visits the card only to encode and decode."""
        from diffusers import AutoencoderKLFlux2

        return cast(AutoencoderKLFlux2, self.load_part(AutoencoderKLFlux2, "vae"))

    def load_transformer(self) -> "Flux2Transformer2DModel":
        """The transformer as it is on disk, in this model's dtype, on its device, frozen."""
        from diffusers import Flux2Transformer2DModel

        return cast(Flux2Transformer2DModel, self.load_part(Flux2Transformer2DModel, "transformer").to(self.device))
