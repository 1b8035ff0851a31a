"""Training a character LoRA on Z-Image: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from flenwheel_core.adapters.lora_file import lora_bytes
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, adapt_by_peft, linear_names
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.determinism import deterministic
from flenwheel_core.engine.job import Trained, TrainHooks, TrainJob, check_job
from flenwheel_core.engine.optimizers import require_optimizer
from flenwheel_core.engine.placed_pictures import mask_tokens
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.team import Alone, Team
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.trackers import require_trackers
from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.z_image.drawing import DrawingParts, draw_picture
from flenwheel_core.models.z_image.encoding import encode_pictures, encode_prompts
from flenwheel_core.models.z_image.geometry import NO_PROMPT, PIXELS_PER_TOKEN
from flenwheel_core.models.z_image.loading import ZImageModel
from flenwheel_core.models.z_image.memory import require_room
from flenwheel_core.models.z_image.names import TARGETS, UI_NAMES
from flenwheel_core.models.z_image.task import ZImageItem, ZImageTask
from flenwheel_core.transformer.character_run import (
    Draw,
    all_sample_files,
    character_facts,
    draw_samples,
    drawn_prior,
    placed_pictures,
    prior_texts,
    sample_prompts,
)
from flenwheel_core.transformer.plan import OTHER_MODULES


def train_lora(model: ZImageModel, job: TrainJob, hooks: TrainHooks, cache: TensorCache) -> Trained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    In a team every process runs this and gets the same outcome. Raises InputError, RecipeError or ResourceError before anything loads,
    InterruptedStageError after saving when told to stop.
    """
    check_job(job)
    require_optimizer(job.recipe.optimizer)
    require_trackers(job.recipe.trackers)
    if model.budget_gib is not None:
        need = require_room(model.folder, job.recipe, model.budget_gib)
        hooks.note(
            f"memory plan: bfloat16 weights, every block computed again, {need:.1f} of {model.budget_gib:.1f} GiB"
        )
        hooks.note(OTHER_MODULES)
    with deterministic(wanted=job.recipe.deterministic and model.device.type == "cuda"):
        return _train(model, job, hooks, cache, hooks.team or Alone())


def _train(model: ZImageModel, job: TrainJob, hooks: TrainHooks, cache: TensorCache, team: Team) -> Trained:
    recipe = job.recipe
    if team.rank > 0:
        team.wait()  # for the first process, which fills the caches
    class_texts = prior_texts(job)
    hooks.loading("text encoder")
    captions = encode_prompts(
        model,
        [*(picture.caption for picture in job.pictures), *class_texts, *sample_prompts(job), NO_PROMPT],
        tokens=recipe.text_tokens,
        cache=cache,
        storage=recipe.text_encoder_format,
    )
    items = _encode_items(model, job, hooks, captions, cache)
    hooks.loading("transformer")
    adapted = adapt(model, job)
    transformer = adapted.transformer
    parts = DrawingParts(transformer, model.load_scheduler(), model.load_vae(), model.device)

    def draw(text: str, sampler: Sampler, seed: int) -> Image:
        negative = captions[NO_PROMPT] if sampler.true_cfg > 1 else None
        return draw_picture(parts, captions[text], negative, sampler, seed)

    prior = _prior_items(model, job, hooks, captions, items, class_texts, adapted, draw, cache)
    if team.rank == 0:
        team.wait()
    transformer.train()

    def sample(step: int) -> Mapping[str, float]:
        transformer.eval()
        figures = draw_samples(job, hooks, step, draw)
        transformer.train()
        return figures

    task = ZImageTask(
        adapted,
        recipe,
        items,
        prior,
        captions[NO_PROMPT],
        parts.scheduler,
        seed=job.seed,
        sample=sample,
        rank=team.rank,
        world=team.size,
    )
    outcome = run_job(task, job, hooks)
    facts = character_facts(UI_NAMES, job, model.reference)
    return Trained(lora_bytes(outcome.weights, adapted, facts), outcome.losses, all_sample_files(job))


def adapt(model: ZImageModel, job: TrainJob) -> AdaptedTransformer:
    """diffusers' own modules with a new adapter; on a card every block is computed again for its gradients."""
    transformer = model.load_transformer()
    ranks = lora_ranks(linear_names(transformer), job.recipe.lora, TARGETS)
    adapted = adapt_by_peft(transformer, ranks, job.recipe.lora, seed=job.seed)
    if model.device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)  # it computes wrong gradients from slices
        transformer.enable_gradient_checkpointing()
    return adapted


def _encode_items(
    model: ZImageModel, job: TrainJob, hooks: TrainHooks, captions: Mapping[str, Tensor], cache: TensorCache
) -> list[ZImageItem]:
    pictures = placed_pictures(job, hooks)
    hooks.loading("VAE")
    floor, side = job.recipe.mask_floor, PIXELS_PER_TOKEN
    items = []
    for given, picture, latents in zip(
        job.pictures, pictures, encode_pictures(model, pictures, cache=cache), strict=True
    ):
        mask = None
        if given.load_mask is not None:
            mask = mask_tokens(given.load_mask(), picture.placement, floor=floor, pixels_per_token=side)
        bucket = picture.placement.bucket
        items.append(ZImageItem(bucket, latents, captions[given.caption], mask, given.weight))
    return items


def _prior_items(
    model: ZImageModel,
    job: TrainJob,
    hooks: TrainHooks,
    captions: Mapping[str, Tensor],
    items: list[ZImageItem],
    texts: list[str],
    adapted: AdaptedTransformer,
    draw: Draw,
    cache: TensorCache,
) -> list[ZImageItem]:
    """Items that keep the class word: pictures the base draws for it, and, to predict as the base, the own pictures."""

    def draw_base(text: str, sampler: Sampler, seed: int) -> Image:
        with adapted.without_adapter():
            return draw(text, sampler, seed)

    made = drawn_prior(
        job,
        hooks,
        texts,
        cache,
        kind="z-image prior",
        revision=model.revision("transformer") if texts else "",
        draw=draw_base,
        encode=lambda picture: encode_pictures(model, [picture], cache=cache)[0],
        true_cfg=job.sampler.true_cfg,
    )
    free_memory()
    side = job.recipe.resolution
    drawn = [ZImageItem(f"{side}x{side}", latents, captions[text]) for text, latents in made]
    if job.recipe.prior.method == "images" or not texts:
        return drawn
    return drawn + [replace(item, caption=captions[text], mask=None) for item, text in zip(items, texts, strict=True)]


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[TrainJob, TrainHooks], Trained]:
    """What trains a LoRA on the model in `folder`."""
    model = ZImageModel.find(folder, reference, settings)
    cache = TensorCache(settings.scratch / "cache" / "z_image")
    return lambda job, hooks: train_lora(model, job, hooks, cache)
