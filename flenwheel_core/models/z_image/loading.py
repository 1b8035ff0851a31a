"""Loading the parts of a Z-Image model, each only while it is needed."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.models.model_folder import ModelFolder

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, ZImagePipeline, ZImageTransformer2DModel


@dataclass(frozen=True)
class ZImageModel(ModelFolder):
    """A Z-Image folder on this machine and where its parts run."""

    def text_encoder(self, storage: TextFormat = "bf16") -> "AbstractContextManager[ZImagePipeline]":
        """A pipeline that can only encode prompts; the encoder leaves the card afterwards."""
        from diffusers import ZImagePipeline
        from transformers import Qwen3Model

        quantised = {}
        if storage != "bf16" and self.device.type == "cuda":
            quantised["text_encoder"] = self.load_quantised(Qwen3Model, "text_encoder", storage)
        return self.prompt_pipeline(ZImagePipeline, quantised)

    def load_vae(self) -> "AutoencoderKL":
        """The VAE, on the CPU: it visits the card only to encode and decode."""
        from diffusers import AutoencoderKL

        return cast(AutoencoderKL, self.load_part(AutoencoderKL, "vae"))

    def load_transformer(self) -> "ZImageTransformer2DModel":
        """The transformer as it is on disk, in this model's dtype, on its device, frozen."""
        from diffusers import ZImageTransformer2DModel

        return cast(ZImageTransformer2DModel, self.load_part(ZImageTransformer2DModel, "transformer").to(self.device))
