"""Training a character LoRA on Qwen-Image: encode, load, put the adapter on, train, write the file."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Image
from torch import Tensor

from flenwheel_core.adapters.lora_file import UiNames
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import Trained, TrainHooks, TrainJob
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.team import Alone, Team
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import fit
from flenwheel_core.memory.card import free_memory
from flenwheel_core.memory.drawing import TILE_OVERLAP_PX, TILE_PX
from flenwheel_core.models.protocols import ModelSetup
from flenwheel_core.models.qwen_image.adapter import STORAGE_OF_FORMAT, adapt, require_room
from flenwheel_core.models.qwen_image.conditioning import (
    NO_PROMPT,
    PIXELS_PER_TOKEN,
    decode_latents,
    drawn_sizes,
    log_shift,
    to_picture,
)
from flenwheel_core.models.qwen_image.drawing import draw as draw_latents
from flenwheel_core.models.qwen_image.encoding import Picture, encode_pictures
from flenwheel_core.models.qwen_image.loading import QwenEditModel, find_model
from flenwheel_core.models.qwen_image.prompts import encode_prompts
from flenwheel_core.models.qwen_image.task import padded
from flenwheel_core.transformer.character_items import CharacterItems
from flenwheel_core.transformer.character_run import check_training, finished, repeatably, samples_of, texts_of
from flenwheel_core.transformer.character_task import CharacterItem, CharacterTask

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler

UI_NAMES = UiNames("qwen-image/lora", "qwen_image", "networks.lora_qwen_image")
QwenItem = CharacterItem[Tensor]
"""Its caption is (text tokens, channels), as long as the text is."""


class QwenTask(CharacterTask[Tensor]):
    """Batches and losses of a character LoRA for `run_loop`."""

    def texts(self, captions: Sequence[Tensor]) -> dict[str, Tensor]:
        text, mask = padded(captions)
        given = {"text": text.to(self._device)}
        return given if mask is None else {**given, "text_mask": mask.to(self._device)}

    def text_tokens(self, caption: Tensor) -> int:
        return len(caption)

    def places(self, bucket: str, text_tokens: int) -> dict[str, Tensor]:
        """The grid of a bucket's tokens as the shape of a tensor: shapes are known while a step is recorded, numbers are not."""
        width, height = (int(side) // PIXELS_PER_TOKEN for side in bucket.split("x"))
        return {"grid": torch.zeros(height, width)}

    def shift(self, tokens: int) -> float:
        return math.exp(log_shift(self._scheduler, tokens))

    def predict(self, noisy: Tensor, sigma: Tensor, **given: Tensor) -> Tensor:
        rows, columns = given["grid"].shape
        mask = {"encoder_hidden_states_mask": given["text_mask"]} if "text_mask" in given else {}
        prediction: Tensor = self._transformer(
            hidden_states=noisy.to(self._dtype),
            timestep=sigma.to(self._dtype),
            encoder_hidden_states=given["text"].to(self._dtype),
            img_shapes=[[(1, rows, columns)]] * len(noisy),
            return_dict=False,
            **mask,
        )[0]
        return prediction


def train_lora(model: QwenEditModel, job: TrainJob, hooks: TrainHooks, cache: TensorCache) -> Trained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    In a team every process runs this and gets the same outcome. Raises InputError or RecipeError before anything loads,
    InterruptedStageError after saving when told to stop.
    """
    check_training(job)
    return repeatably(job, model.device, lambda: _train(model, job, hooks, cache, hooks.team or Alone()))


def _train(model: QwenEditModel, job: TrainJob, hooks: TrainHooks, cache: TensorCache, team: Team) -> Trained:
    recipe = job.recipe
    picture_tokens = recipe.batch_size * (recipe.resolution // PIXELS_PER_TOKEN) ** 2
    require_room(model, recipe, picture_tokens, job.memory_level)
    class_texts, texts = texts_of(job, team, NO_PROMPT)
    hooks.loading("text encoder")
    captions = encode_prompts(model, texts, cache, tokens=recipe.text_tokens)
    pictures = CharacterItems(job, hooks, captions, partial(_latents, model, cache), cache)
    items = pictures.own(PIXELS_PER_TOKEN)
    hooks.loading("transformer")
    longest = max(len(caption) for caption in captions.values())
    tokens = picture_tokens + recipe.batch_size * longest
    adapted = adapt(
        model, recipe, tokens, seed=job.seed, setup=ModelSetup(memory_level=job.memory_level, note=hooks.note)
    )
    transformer = adapted.transformer
    scheduler = model.load_scheduler()
    draw = partial(_draw, transformer, scheduler, _waiting_vae(model), model.device, captions)
    digest = partial(model.part_digest, "transformer")
    prior = pictures.prior(items, class_texts, adapted, draw, "qwen prior", digest, true_cfg=job.sampler.true_cfg)
    if team.prepares:
        team.wait()
    transformer.train()

    # Steps are not recorded as CUDA graphs: captions are as long as they are, and each length would be a graph of its own.
    task = QwenTask(
        adapted,
        recipe,
        items,
        prior,
        captions[NO_PROMPT],
        scheduler=scheduler,
        seed=job.seed,
        sample=samples_of(job, hooks, adapted, draw),
        rank=team.rank,
        world=team.size,
    )
    outcome = run_job(task, job, hooks)
    return finished(job, adapted, outcome, UI_NAMES, model.reference)


def _latents(model: QwenEditModel, cache: TensorCache, pictures: Sequence[PlacedPicture]) -> list[Tensor]:
    """The packed latents (tokens, channels) of pictures in their buckets."""
    placed = []
    for picture in pictures:
        place = picture.placement
        size = (place.width, place.height)
        name = f"{picture.digest} {place.scaled} {place.bucket}"  # the same picture in another cut has other pixels
        placed.append((Picture(size, name, partial(_in_its_bucket, picture)), size))
    return encode_pictures(model, placed, cache)


def _in_its_bucket(picture: PlacedPicture) -> Image:
    return fit(picture.load(), picture.placement)


def _waiting_vae(model: QwenEditModel) -> "AutoencoderKLQwenImage":
    """The autoencoder beside the card, for the sample pictures: it decodes in tiles there, beside what training holds."""
    vae = model.load_vae()
    if model.device.type == "cuda":
        vae.enable_tiling(TILE_PX, TILE_PX, TILE_PX - TILE_OVERLAP_PX, TILE_PX - TILE_OVERLAP_PX)
        vae.to("cpu")
    return vae


def _draw(
    transformer: Any,
    scheduler: "FlowMatchEulerDiscreteScheduler",
    vae: "AutoencoderKLQwenImage",
    device: torch.device,
    captions: Mapping[str, Tensor],
    text: str,
    sampler: Sampler,
    seed: int,
) -> Image:
    sizes = drawn_sizes(sampler.width, sampler.height)
    latents = draw_latents(
        transformer,
        scheduler,
        sizes,
        torch.zeros(1, 0, transformer.config.in_channels, device=device),
        captions[text],
        captions[NO_PROMPT] if sampler.true_cfg > 1 else None,
        steps=sampler.steps,
        true_cfg=sampler.true_cfg,
        seed=seed,
    )
    vae.to(device)
    try:
        return to_picture(decode_latents(vae, latents, sizes.target))
    finally:
        if device.type == "cuda":
            vae.to("cpu")
            free_memory()


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[TrainJob, TrainHooks], Trained]:
    """What trains a LoRA on the base model in `folder`."""
    cache = TensorCache(settings.scratch / "cache" / "qwen_image")

    def train(job: TrainJob, hooks: TrainHooks) -> Trained:
        storage = STORAGE_OF_FORMAT[job.recipe.weight_format]
        model = find_model(folder, reference, settings, storage, memory_level=job.memory_level)
        return train_lora(model, job, hooks, cache)

    return train
