"""Loading the parts of a FLUX model, each only while it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.memory.card import GIB, free_memory, open_card
from flenwheel_core.models.digests import folder_digest
from flenwheel_core.models.references import digest_memory

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel

TextFormat = Literal["bf16", "int8", "nf4"]


@dataclass(frozen=True)
class FluxModel:
    """A FLUX folder on this machine and where its parts run."""

    folder: Path
    reference: str
    device: torch.device
    dtype: torch.dtype
    budget_gib: float | None = None
    """Video memory for tensors; None on a CPU."""
    digests: Path | None = None
    """Where this machine remembers what files of weights hash to."""

    def revision(self, part: str) -> str:
        """Digest of a part's weights and configuration."""
        return folder_digest(self.folder / part, self.digests)

    @contextmanager
    def text_encoders(self, storage: TextFormat = "bf16") -> "Iterator[FluxPipeline]":
        """A pipeline that can only encode prompts; the encoders leave the card afterwards."""
        from diffusers import FluxPipeline

        quantised = _quantised_text_encoder(self, storage) if self.device.type == "cuda" else {}
        pipeline = FluxPipeline.from_pretrained(
            self.folder,
            transformer=None,
            vae=None,
            dtype=self.dtype,
            local_files_only=True,
            use_safetensors=True,
            **quantised,
        )
        pipeline.set_progress_bar_config(disable=True)
        for encoder in (pipeline.text_encoder, pipeline.text_encoder_2):
            encoder.requires_grad_(False).eval()
            if not getattr(encoder, "is_quantized", False):
                encoder.to(self.device)
        try:
            yield pipeline
        finally:
            pipeline.text_encoder = pipeline.text_encoder_2 = None
            free_memory()

    def load_vae(self) -> "AutoencoderKL":
        """The VAE, on the CPU: it visits the card only to encode and decode. float32 where it is asked for."""
        from diffusers import AutoencoderKL

        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        vae = AutoencoderKL.from_pretrained(
            self.folder / "vae", dtype=dtype, local_files_only=True, use_safetensors=True
        )
        vae.requires_grad_(False).eval()
        if self.device.type == "cuda":
            vae.enable_tiling()
        return vae

    def load_transformer(self) -> "FluxTransformer2DModel":
        """The transformer as it is on disk, in this model's dtype, on its device, frozen."""
        from diffusers import FluxTransformer2DModel

        transformer = FluxTransformer2DModel.from_pretrained(
            self.folder / "transformer", dtype=self.dtype, local_files_only=True, use_safetensors=True
        )
        transformer.requires_grad_(False).eval()
        return transformer.to(self.device)


def find_model(folder: Path, reference: str, settings: Settings) -> FluxModel:
    """The model in `folder`, on the card of the settings: bfloat16 there, float32 on a CPU."""
    card = open_card(settings)
    if card is None:
        return FluxModel(folder, reference, torch.device("cpu"), torch.float32, digests=digest_memory(settings))
    return FluxModel(folder, reference, card.device, torch.bfloat16, card.usable_gib, digest_memory(settings))


def weights_gib(folder: Path) -> float:
    """Size of the weights in a folder, as they are on disk (bfloat16 in every released model)."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / GIB


def _quantised_text_encoder(model: FluxModel, storage: TextFormat) -> dict[str, object]:
    if storage == "bf16":
        return {}
    from transformers import BitsAndBytesConfig, T5EncoderModel

    config = (
        BitsAndBytesConfig(load_in_8bit=True)
        if storage == "int8"
        else BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=model.dtype)
    )
    encoder = T5EncoderModel.from_pretrained(
        model.folder / "text_encoder_2",
        quantization_config=config,
        dtype=model.dtype,
        device_map={"": 0},
        local_files_only=True,
        use_safetensors=True,
    )
    return {"text_encoder_2": encoder}
