"""Loading the parts of a Z-Image model, each only while it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.model_folder import ModelFolder, TextFormat, bitsandbytes_config

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, ZImagePipeline, ZImageTransformer2DModel


@dataclass(frozen=True)
class ZImageModel(ModelFolder):
    """A Z-Image folder on this machine and where its parts run."""

    @contextmanager
    def text_encoder(self, storage: TextFormat = "bf16") -> "Iterator[ZImagePipeline]":
        """A pipeline that can only encode prompts; the encoder leaves the card afterwards."""
        from diffusers import ZImagePipeline
        from transformers import Qwen3Model

        quantised = {}
        if storage != "bf16" and self.device.type == "cuda":
            quantised["text_encoder"] = Qwen3Model.from_pretrained(
                self.folder / "text_encoder",
                quantization_config=bitsandbytes_config(storage, self.dtype),
                dtype=self.dtype,
                device_map={"": 0},
                local_files_only=True,
                use_safetensors=True,
            )
        pipeline = ZImagePipeline.from_pretrained(
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

    def load_vae(self) -> "AutoencoderKL":
        """The VAE, on the CPU: it visits the card only to encode and decode."""
        from diffusers import AutoencoderKL

        return self.load_part(AutoencoderKL, "vae")

    def load_transformer(self) -> "ZImageTransformer2DModel":
        """The transformer as it is on disk, in this model's dtype, on its device, frozen."""
        from diffusers import ZImageTransformer2DModel

        return self.load_part(ZImageTransformer2DModel, "transformer").to(self.device)
