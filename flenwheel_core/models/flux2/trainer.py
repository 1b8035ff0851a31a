"""Training a character LoRA on FLUX.2 klein: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL.Image import Image
from torch import Tensor

from flenwheel_core.adapters.lora_file import lora_bytes
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
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
from flenwheel_core.models.flux2.adapter import adapt, start_recorder
from flenwheel_core.models.flux2.artist import NO_PROMPT
from flenwheel_core.models.flux2.drawing import Drawing, DrawingParts, draw_picture
from flenwheel_core.models.flux2.encoding import encode_pictures, encode_prompts
from flenwheel_core.models.flux2.geometry import PIXELS_PER_TOKEN, whole_size
from flenwheel_core.models.flux2.loading import Flux2Model, find_model
from flenwheel_core.models.flux2.names import UI_NAMES
from flenwheel_core.models.flux2.task import KleinItem, KleinTask
from flenwheel_core.models.protocols import Working
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

DISTILLED = "this model is distilled for few steps: LoRAs are better trained on its base model, and worn here"


def train_lora(model: Flux2Model, job: TrainJob, hooks: TrainHooks, cache: TensorCache) -> Trained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    In a team every process runs this and gets the same outcome. Raises InputError or RecipeError before anything loads,
    InterruptedStageError after saving when told to stop.
    """
    check_job(job)
    require_optimizer(job.recipe.optimizer)
    require_trackers(job.recipe.trackers)
    if model.is_distilled:
        hooks.note(DISTILLED)
    with deterministic(wanted=job.recipe.deterministic and model.device.type == "cuda"):
        return _train(model, job, hooks, cache, hooks.team or Alone())


def _train(model: Flux2Model, job: TrainJob, hooks: TrainHooks, cache: TensorCache, team: Team) -> Trained:
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
    working = Working(job.memory_level, hooks.note)
    tokens = recipe.batch_size * ((recipe.resolution // PIXELS_PER_TOKEN) ** 2 + recipe.text_tokens)
    adapted = adapt(model, recipe, tokens=tokens, seed=job.seed, cache=cache, working=working)
    transformer = adapted.transformer
    draw = partial(_draw, model, DrawingParts(transformer, model.load_scheduler(), model.load_vae()), captions)
    prior = _prior_items(model, job, hooks, captions, items, class_texts, adapted, draw, cache)
    if team.rank == 0:
        team.wait()
    transformer.train()

    def sample(step: int) -> Mapping[str, float]:
        transformer.eval()
        figures = draw_samples(job, hooks, step, draw)
        transformer.train()
        return figures

    task = KleinTask(
        adapted,
        recipe,
        items,
        prior,
        captions[NO_PROMPT],
        seed=job.seed,
        sample=sample,
        rank=team.rank,
        world=team.size,
        recorder=start_recorder(model, recipe, adapted, working),
    )
    outcome = run_job(task, job, hooks)
    facts = character_facts(UI_NAMES, job, model.reference)
    return Trained(lora_bytes(outcome.weights, adapted, facts), outcome.losses, all_sample_files(job))


def _encode_items(
    model: Flux2Model, job: TrainJob, hooks: TrainHooks, captions: Mapping[str, Tensor], cache: TensorCache
) -> list[KleinItem]:
    pictures = placed_pictures(job, hooks)
    hooks.loading("VAE")
    floor = job.recipe.mask_floor
    return [
        KleinItem(
            bucket=picture.placement.bucket,
            latents=latents.tokens,
            caption=captions[given.caption],
            mask=None
            if given.load_mask is None
            else mask_tokens(given.load_mask(), picture.placement, floor=floor, pixels_per_token=PIXELS_PER_TOKEN),
            weight=given.weight,
        )
        for given, picture, latents in zip(
            job.pictures, pictures, encode_pictures(model, pictures, cache=cache), strict=True
        )
    ]


def _prior_items(
    model: Flux2Model,
    job: TrainJob,
    hooks: TrainHooks,
    captions: Mapping[str, Tensor],
    items: list[KleinItem],
    texts: list[str],
    adapted: AdaptedTransformer,
    draw: Draw,
    cache: TensorCache,
) -> list[KleinItem]:
    """Items that keep the class word: pictures the base draws for it, and, to predict as the base, the own pictures."""

    def draw_base(text: str, sampler: Sampler, seed: int) -> Image:
        with adapted.without_adapter():
            return draw(text, sampler, seed)

    made = drawn_prior(
        job,
        hooks,
        texts,
        cache,
        kind="flux2 prior",
        revision=model.revision("transformer") if texts else "",
        draw=draw_base,
        encode=lambda picture: encode_pictures(model, [picture], cache=cache)[0].tokens,
        true_cfg=job.sampler.true_cfg,
    )
    side = job.recipe.resolution
    drawn = [KleinItem(f"{side}x{side}", latents, captions[text]) for text, latents in made]
    if job.recipe.prior.method == "images" or not texts:
        return drawn
    own = [replace(item, caption=captions[text], mask=None) for item, text in zip(items, texts, strict=True)]
    return drawn + own


def _draw(
    model: Flux2Model,
    parts: DrawingParts,
    captions: Mapping[str, Tensor],
    text: str,
    sampler: Sampler,
    seed: int,
) -> Image:
    guided = sampler.true_cfg > 1 and not model.is_distilled
    drawing = Drawing(
        size=whole_size((sampler.width, sampler.height)),
        seed=seed,
        steps=sampler.steps,
        prompt=captions[text],
        negative=captions[NO_PROMPT] if guided else None,
        true_cfg=sampler.true_cfg,
    )
    return draw_picture(parts, drawing, model.device)


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[TrainJob, TrainHooks], Trained]:
    """What trains a LoRA on the model in `folder`."""
    model = find_model(folder, reference, settings)
    cache = TensorCache(settings.scratch / "cache" / "flux2")
    return lambda job, hooks: train_lora(model, job, hooks, cache)
