"""Training a FLUX LoRA: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from PIL import Image

from flenwheel_core.adapters.lora_file import lora_bytes
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.determinism import deterministic
from flenwheel_core.engine.graphs import Recorder, records
from flenwheel_core.engine.job import Trained, TrainHooks, TrainJob, check_job
from flenwheel_core.engine.optimizers import require_optimizer
from flenwheel_core.engine.placed_pictures import mask_tokens
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.team import Alone, Team
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.trackers import require_trackers
from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.flux1.adapter import UI_NAMES, put_on, start_fast
from flenwheel_core.models.flux1.drawing import draw, drawing_pipeline
from flenwheel_core.models.flux1.encoding import Caption, encode_captions, encode_pictures
from flenwheel_core.models.flux1.loading import FluxModel, find_model
from flenwheel_core.models.flux1.memory import ChosenPlan, plan_training
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN
from flenwheel_core.models.flux1.task import FluxItem, FluxTask
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

if TYPE_CHECKING:
    from diffusers import FluxPipeline


def train_lora(model: FluxModel, job: TrainJob, hooks: TrainHooks, cache: TensorCache) -> Trained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    In a team every process runs this and gets the same outcome. Raises InputError or RecipeError before anything loads,
    InterruptedStageError after saving when told to stop.
    """
    check_job(job)
    require_optimizer(job.recipe.optimizer)
    require_trackers(job.recipe.trackers)
    with deterministic(wanted=job.recipe.deterministic and model.device.type == "cuda"):
        return _train(model, job, hooks, cache, hooks.team or Alone())


def _train(model: FluxModel, job: TrainJob, hooks: TrainHooks, cache: TensorCache, team: Team) -> Trained:
    recipe = job.recipe
    chosen = plan_training(model, recipe, tighter=job.memory_level)
    if chosen is not None:
        hooks.note(f"memory plan: {chosen.text}")
    if team.rank > 0:
        team.wait()  # for the first process, which fills the caches
    class_texts = prior_texts(job)
    hooks.loading("text encoders")
    captions = encode_captions(
        model,
        [*(p.caption for p in job.pictures), *class_texts, *sample_prompts(job), ""],
        tokens=recipe.text_tokens,
        cache=cache,
        storage=recipe.text_encoder_format,
    )
    items = _encode_items(model, job, hooks, captions, cache)
    hooks.loading("transformer")
    adapted = _adapt(model, job, hooks, chosen, cache)
    transformer = adapted.transformer
    pipeline = drawing_pipeline(model, transformer, model.load_vae())
    prior = _prior_items(model, job, hooks, captions, items, class_texts, adapted, pipeline, cache)
    if team.rank == 0:
        team.wait()
    transformer.train()

    def sample(step: int) -> Mapping[str, float]:
        transformer.eval()
        figures = draw_samples(job, hooks, step, _draws(model, pipeline, captions))
        transformer.train()
        return figures

    recorder = None
    if chosen is not None and model.device.type == "cuda" and records(recipe, compiled=chosen.plan.compile):
        recorder = Recorder(list(adapted.parameters.values()), hooks.note)
    task = FluxTask(
        adapted,
        recipe,
        items,
        prior,
        captions[""],
        seed=job.seed,
        sample=sample,
        rank=team.rank,
        world=team.size,
        recorder=recorder,
    )
    outcome = run_job(task, job, hooks)
    facts = character_facts(UI_NAMES, job, model.reference)
    return Trained(lora_bytes(outcome.weights, adapted, facts), outcome.losses, all_sample_files(job))


def _adapt(
    model: FluxModel, job: TrainJob, hooks: TrainHooks, chosen: ChosenPlan | None, cache: TensorCache
) -> AdaptedTransformer:
    lora = job.recipe.lora
    if chosen is not None:
        hooks.note(chosen.plan.kernel_line(model.device))
        return start_fast(model, chosen.plan, lora, seed=job.seed, cache=cache)
    adapted = put_on(model.load_transformer(), lora, seed=job.seed)
    if model.device.type == "cuda":
        hooks.note(OTHER_MODULES)
        hooks.note("this adapter trains through diffusers' own modules: slower, and every block is recomputed")
        torch.backends.cuda.enable_cudnn_sdp(
            False
        )  # it computes wrong gradients from slices, as FLUX's blocks have them
        cast(Any, adapted.transformer).enable_gradient_checkpointing()
    return adapted


def _encode_items(
    model: FluxModel, job: TrainJob, hooks: TrainHooks, captions: dict[str, Caption], cache: TensorCache
) -> list[FluxItem]:
    pictures = placed_pictures(job, hooks)
    hooks.loading("VAE")
    latents = encode_pictures(model, pictures, cache=cache)
    return [
        FluxItem(
            bucket=picture.placement.bucket,
            latents=latent,
            caption=captions[given.caption],
            mask=None
            if given.load_mask is None
            else mask_tokens(
                given.load_mask(), picture.placement, floor=job.recipe.mask_floor, pixels_per_token=PIXELS_PER_TOKEN
            ),
            weight=given.weight,
        )
        for given, picture, latent in zip(job.pictures, pictures, latents, strict=True)
    ]


def _prior_items(
    model: FluxModel,
    job: TrainJob,
    hooks: TrainHooks,
    captions: dict[str, Caption],
    items: list[FluxItem],
    texts: list[str],
    adapted: AdaptedTransformer,
    pipeline: "FluxPipeline",
    cache: TensorCache,
) -> list[FluxItem]:
    """Items that keep the class word: pictures the base draws for it, and, to predict as the base, the own pictures."""

    def draw_base(text: str, sampler: Sampler, seed: int) -> Image.Image:
        with adapted.without_adapter():
            return draw(model, pipeline, captions[text], sampler, seed)

    made = drawn_prior(
        job,
        hooks,
        texts,
        cache,
        kind="flux prior",
        revision=model.revision("transformer") if texts else "",
        draw=draw_base,
        encode=lambda picture: encode_pictures(model, [picture], cache=cache)[0],
    )
    free_memory()
    side = job.recipe.resolution
    drawn = [FluxItem(f"{side}x{side}", latents, captions[text]) for text, latents in made]
    if job.recipe.prior.method == "images" or not texts:
        return drawn
    own = [replace(item, caption=captions[text], mask=None) for item, text in zip(items, texts, strict=True)]
    return drawn + own


def _draws(model: FluxModel, pipeline: "FluxPipeline", captions: Mapping[str, Caption]) -> Draw:
    return lambda text, sampler, seed: draw(model, pipeline, captions[text], sampler, seed)


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[TrainJob, TrainHooks], Trained]:
    """What trains a LoRA on the model in `folder`."""
    model = find_model(folder, reference, settings)
    cache = TensorCache(settings.scratch / "cache" / "flux")
    return lambda job, hooks: train_lora(model, job, hooks, cache)
