"""Training a FLUX LoRA: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from PIL import Image

from flenwheel_core.adapters.lora_file import lora_bytes, ui_facts
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.base.ids import Json, derive_seed, digest_bytes
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.determinism import deterministic
from flenwheel_core.engine.graphs import Recorder, records
from flenwheel_core.engine.job import SampleFile, Trained, TrainHooks, TrainJob, check_job, class_caption
from flenwheel_core.engine.optimizers import require_optimizer
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.team import Alone, Team
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.tensor_file import write_atomically
from flenwheel_core.engine.trackers import require_trackers
from flenwheel_core.images.buckets import bucket_report, bucket_sides, place
from flenwheel_core.memory.card import free_memory
from flenwheel_core.models.flux1.adapter import UI_NAMES, put_on, start_fast
from flenwheel_core.models.flux1.drawing import draw, drawing_pipeline
from flenwheel_core.models.flux1.encoding import Caption, Picture, encode_captions, encode_pictures, mask_tokens
from flenwheel_core.models.flux1.loading import FluxModel, find_model
from flenwheel_core.models.flux1.memory import ChosenPlan, plan_training
from flenwheel_core.models.flux1.task import FluxItem, FluxTask
from flenwheel_core.store.pictures import encode_png
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
    prior_texts = _prior_texts(job)
    hooks.loading("text encoders")
    captions = encode_captions(
        model,
        [*(p.caption for p in job.pictures), *prior_texts, *_sample_prompts(job), ""],
        tokens=recipe.text_tokens,
        cache=cache,
        storage=recipe.text_encoder_format,
    )
    items = _encode_items(model, job, hooks, captions, cache)
    hooks.loading("transformer")
    adapted = _adapt(model, job, hooks, chosen, cache)
    transformer = adapted.transformer
    pipeline = drawing_pipeline(model, transformer, model.load_vae())
    prior = _prior_items(model, job, hooks, captions, items, prior_texts, adapted, pipeline, cache)
    if team.rank == 0:
        team.wait()
    transformer.train()

    def sample(step: int) -> Mapping[str, float]:
        transformer.eval()
        files = _sample_files(job, step)
        for file in files:
            if not file.path.exists():
                image = draw(model, pipeline, captions[file.prompt], job.sampler, file.seed)
                facts = {"flenwheel.prompt": file.prompt, "flenwheel.seed": str(file.seed), "flenwheel.step": str(step)}
                write_atomically(file.path, encode_png(image, facts))
        transformer.train()
        if hooks.score is None or not files:
            return {}
        return hooks.score([Image.open(file.path).convert("RGB") for file in files])

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
    facts = ui_facts(
        UI_NAMES,
        name=job.name,
        trigger=job.trigger,
        base=model.reference,
        rank=recipe.lora.rank,
        steps=recipe.steps,
        resolution=recipe.resolution,
        images=len(job.pictures),
    )
    facts |= {"flenwheel.request": job.run, "flenwheel.base": model.reference, "flenwheel.seed": str(job.seed)}
    every = recipe.sampling.every_steps
    steps = [*range(0, recipe.steps, every), recipe.steps] if every else []
    return Trained(
        lora=lora_bytes(outcome.weights, adapted, facts),
        losses=outcome.losses,
        samples=tuple(file for step in steps for file in _sample_files(job, step)),
    )


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
    recipe = job.recipe
    sides = bucket_sides(recipe.resolution, recipe.bucket_step, aspect=recipe.aspect_buckets)
    pictures = [Picture(p.digest, place(p.load().size, sides), p.load) for p in job.pictures]
    hooks.note(f"buckets: {bucket_report([p.placement for p in pictures])}")
    hooks.loading("VAE")
    latents = encode_pictures(model, pictures, cache=cache)
    return [
        FluxItem(
            bucket=picture.placement.bucket,
            latents=latent,
            caption=captions[given.caption],
            mask=None
            if given.load_mask is None
            else mask_tokens(given.load_mask(), picture.placement, floor=recipe.mask_floor),
            weight=given.weight,
        )
        for given, picture, latent in zip(job.pictures, pictures, latents, strict=True)
    ]


def _prior_texts(job: TrainJob) -> list[str]:
    """The pictures' captions with the class word in place of the trigger."""
    prior = job.recipe.prior
    if prior.method == "off" or prior.share == 0 or job.class_word is None:
        return []
    return [class_caption(picture.caption, job.trigger, job.class_word) for picture in job.pictures]


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
    prior = job.recipe.prior
    if not texts:
        return []
    drawn = []
    side = job.recipe.resolution
    sampler = job.sampler.model_copy(update={"width": side, "height": side, "true_cfg": 1.0})
    revision = model.revision("transformer")
    for index in range(prior.images):
        text = texts[index % len(texts)]
        seed = derive_seed(job.seed, "prior picture", index)
        key: Json = {
            "kind": "flux prior",
            "text": text,
            "seed": seed,
            "model": revision,
            "sampler": sampler.model_dump(mode="json"),
        }
        found = cache.get(key)
        if found is None:
            hooks.note(f"drawing prior picture {index + 1} of {prior.images}: {text}")
            with adapted.without_adapter():
                image = draw(model, pipeline, captions[text], sampler, seed)
            (latents,) = encode_pictures(
                model,
                [Picture(digest_bytes(image.tobytes()), place(image.size, [image.size]), image.copy)],
                cache=cache,
            )
            found = {"latents": latents}
            cache.put(key, found)
        drawn.append(FluxItem(bucket=f"{side}x{side}", latents=found["latents"], caption=captions[text]))
    free_memory()
    if prior.method == "images":
        return drawn
    own = [replace(item, caption=captions[text], mask=None) for item, text in zip(items, texts, strict=True)]
    return drawn + own


def _sample_prompts(job: TrainJob) -> tuple[str, ...]:
    return job.sample_prompts[: job.recipe.sampling.prompts] if job.recipe.sampling.every_steps else ()


def _sample_files(job: TrainJob, step: int) -> list[SampleFile]:
    folder = job.folder / "samples"
    return [
        SampleFile(step, prompt, job.recipe.sampling.seed + index, folder / f"{step:08d}-{index}.png")
        for index, prompt in enumerate(_sample_prompts(job))
    ]


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[TrainJob, TrainHooks], Trained]:
    """What trains a LoRA on the model in `folder`."""
    model = find_model(folder, reference, settings)
    cache = TensorCache(settings.scratch / "cache" / "flux")
    return lambda job, hooks: train_lora(model, job, hooks, cache)
