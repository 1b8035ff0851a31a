"""Drawing one picture with a FLUX transformer: the same way while training and afterwards."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import torch
from PIL import Image
from torch import Tensor

from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.flux1.encoding import Caption
from flenwheel_core.models.flux1.loading import FluxModel

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, FluxKontextPipeline, FluxPipeline

Pipeline = TypeVar("Pipeline", bound="FluxPipeline | FluxKontextPipeline")


def drawing_pipeline(
    kind: type[Pipeline], model: FluxModel, transformer: torch.nn.Module, vae: "AutoencoderKL"
) -> Pipeline:
    """A pipeline of this class without text encoders, around parts that are already loaded."""
    pipeline = cast(Any, kind)(
        scheduler=model.load_scheduler(),
        vae=vae,
        transformer=transformer,
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
    )
    pipeline.set_progress_bar_config(disable=True)
    return cast(Pipeline, pipeline)


class OwnPipelines(Generic[Pipeline]):
    """A pipeline for each thread that draws, around the same parts: its scheduler counts the steps of one picture."""

    def __init__(self, make: Callable[[], Pipeline]) -> None:
        self._make = make
        self._here = threading.local()

    def own(self) -> Pipeline:
        """This thread's pipeline, made at its first call."""
        if not hasattr(self._here, "pipeline"):
            self._here.pipeline = self._make()
        return cast(Pipeline, self._here.pipeline)


@torch.no_grad()
def draw(
    model: FluxModel,
    pipeline: "FluxPipeline | FluxKontextPipeline",
    caption: Caption,
    sampler: Sampler,
    seed: int,
    negative: Caption | None = None,
    *,
    empties: bool = False,
    reference: Tensor | None = None,
) -> Image.Image:
    """The picture of a caption; noise is drawn on the CPU, so that a seed means the same everywhere.

    One picture at a time: a batch would change the last bits with its company. With `empties`, memory is given back to the card
    between the last step and decoding, which then finds room. `reference` (1, channels, height, width) are the clean latents of an edit's
    source.
    """
    texts: dict[str, object] = {
        "prompt_embeds": _row(caption.sequence, model),
        "pooled_prompt_embeds": _row(caption.pooled, model),
    }
    if negative is not None and sampler.true_cfg > 1:
        texts["negative_prompt_embeds"] = _row(negative.sequence, model)
        texts["negative_pooled_prompt_embeds"] = _row(negative.pooled, model)
    more: dict[str, object] = {}
    if reference is not None:
        more = {"image": reference.to(model.device, model.dtype), "max_area": sampler.width * sampler.height}
    if not empties:
        pipeline.vae.to(model.device)
    try:
        made = pipeline(
            **texts,
            **more,
            height=sampler.height,
            width=sampler.width,
            num_inference_steps=sampler.steps,
            guidance_scale=sampler.guidance,
            true_cfg_scale=sampler.true_cfg,
            generator=torch.Generator().manual_seed(seed),
            output_type="latent" if empties else "pil",
        ).images
        if empties:
            torch.cuda.empty_cache()
            pipeline.vae.to(model.device)
            made = _decoded(pipeline, made, sampler)
    finally:
        if model.device.type == "cuda":
            pipeline.vae.to("cpu")
        if empties:
            torch.cuda.empty_cache()
    return cast(Image.Image, made[0])


def _decoded(
    pipeline: "FluxPipeline | FluxKontextPipeline", packed: torch.Tensor, sampler: Sampler
) -> list[Image.Image]:
    """What FluxPipeline does after its last step."""
    vae = pipeline.vae
    latents = pipeline._unpack_latents(packed, sampler.height, sampler.width, pipeline.vae_scale_factor)
    latents = latents / vae.config.scaling_factor + vae.config.shift_factor
    pixels = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
    return cast(list[Image.Image], pipeline.image_processor.postprocess(pixels, output_type="pil"))


def _row(tensor: torch.Tensor, model: FluxModel) -> torch.Tensor:
    return tensor[None].to(model.device, model.dtype)
