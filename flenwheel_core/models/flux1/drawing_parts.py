"""What is loaded to draw or edit with, as the memory plan says."""

from typing import TYPE_CHECKING, Any

from flenwheel_core.adapters.lora_reading import WornLora
from flenwheel_core.adapters.lora_wearing import wear_for_good
from flenwheel_core.models.flux1.adapter import load_with_loras, require_fast
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.memory import ChosenDrawing
from flenwheel_core.models.protocols import Working
from flenwheel_core.transformer.plan import OTHER_MODULES

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

WornLoras = tuple[WornLora, ...]


def say_chosen(chosen: ChosenDrawing | None, model: FluxModel, loras: WornLoras, working: Working) -> None:
    """The plan, for the log. Raises InputError for LoRAs that it cannot be combined with."""
    if chosen is None:
        return
    if chosen.fast is not None:
        require_fast(loras)
    plan, encoders = chosen.memory.describe(), chosen.encoders
    working.note(f"memory plan: {plan} of {model.budget_gib:.1f} GiB; encoders in {encoders}")


def load_parts(
    model: FluxModel, chosen: ChosenDrawing | None, loras: WornLoras, working: Working
) -> "tuple[Any, AutoencoderKL]":
    """The transformer with its LoRAs, and the autoencoder."""
    vae = model.load_vae()
    if chosen is not None:
        if chosen.memory.tile_px is not None:
            vae.tile_sample_min_size, vae.tile_latent_min_size = chosen.memory.tile_px, chosen.memory.tile_px // 8
        working.note(OTHER_MODULES if chosen.fast is None else chosen.fast.kernel_line(model.device))
        if chosen.fast is not None:
            return load_with_loras(model, chosen.fast, loras).transformer, vae
    transformer = model.load_transformer()
    wear_for_good(transformer, loras)
    return transformer, vae
