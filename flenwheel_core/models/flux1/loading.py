"""Loading the parts of a FLUX model, each only while it is needed."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.models.model_folder import ModelFolder

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel


@dataclass(frozen=True)
class FluxModel(ModelFolder):
    """A FLUX folder on this machine and where its parts run."""

    def text_encoders(self, storage: TextFormat = "bf16") -> "AbstractContextManager[FluxPipeline]":
        """A pipeline that can only encode prompts; the encoders leave the card afterwards."""
        from diffusers import FluxPipeline
        from transformers import T5EncoderModel

        quantised = {}
        if storage != "bf16" and self.device.type == "cuda":
            quantised["text_encoder_2"] = self.load_quantised(T5EncoderModel, "text_encoder_2", storage)
        return self.prompt_pipeline(FluxPipeline, quantised)

    def load_vae(self) -> "AutoencoderKL":
        """The VAE, on the CPU: it visits the card only to encode and decode. bfloat16 for a card, else float32."""
        from diffusers import AutoencoderKL

        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        vae = cast(AutoencoderKL, self.load_part(AutoencoderKL, "vae", dtype=dtype))
        if self.device.type == "cuda":
            vae.enable_tiling()
        return vae

    def load_transformer(self) -> "FluxTransformer2DModel":
        """The transformer as it is on disk, in this model's dtype, on its device, frozen."""
        from diffusers import FluxTransformer2DModel

        return cast(FluxTransformer2DModel, self.load_part(FluxTransformer2DModel, "transformer").to(self.device))
