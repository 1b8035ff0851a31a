"""Training an editor's LoRA on FLUX.1 Kontext: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.edit_job import EditLesson, EditTrained, EditTrainJob
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.images.buckets import bucket_sides, place
from flenwheel_core.models.flux1.adapter import EDIT_UI_NAMES
from flenwheel_core.models.flux1.edit_task import KontextLesson, KontextTask
from flenwheel_core.models.flux1.editor import NO_PROMPT
from flenwheel_core.models.flux1.encoding import encode_captions, encode_pictures
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.memory import plan_training, stored_as
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN
from flenwheel_core.models.flux1.trainer import adapt, start_recorder
from flenwheel_core.transformer.edit_run import finished, lesson_pictures, recorded_shapes
from flenwheel_core.transformer.edit_task import Aim
from flenwheel_core.transformer.lesson_weights import lesson_weights


def train_editor(model: FluxModel, job: EditTrainJob, hooks: TrainHooks, cache: TensorCache) -> EditTrained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    Raises InputError or RecipeError before anything loads, InterruptedStageError after saving when told to stop.
    """
    if not job.lessons:
        raise InputError("There are no triplets to train on.", remedy="Close a gate with approved or corrected edits.")
    recipe = stored_as(job.recipe, job.storage)
    tokens = recipe.batch_size * (1 + job.has_pairs) * max(_tokens(lesson, job) for lesson in job.lessons)
    chosen = plan_training(model, recipe, tighter=job.memory_level, tokens=tokens)
    if chosen is not None:
        hooks.note(f"memory plan: {chosen.text}")
    hooks.loading("text encoders")
    lessons = encode_lessons(model, job, cache)
    hooks.loading("transformer")
    adapted = adapt(model, recipe, chosen, seed=job.seed, note=hooks.note)
    adapted.transformer.train()
    shapes = recorded_shapes(lessons, recipe, job)
    task = KontextTask(
        adapted,
        recipe,
        lessons,
        seed=job.seed,
        dtype=model.dtype,
        guides=bool(cast(Any, adapted.transformer.config).guidance_embeds),
        aim=Aim.of(job, adapted.without_adapter),
        recorder=start_recorder(model, recipe, chosen, adapted, hooks.note, shapes=shapes),
    )
    outcome = run_job(task, job, hooks)
    return finished(job, adapted, outcome, EDIT_UI_NAMES, model.reference)


def encode_lessons(model: FluxModel, job: EditTrainJob, cache: TensorCache) -> list[KontextLesson]:
    """Every lesson as tensors. Pictures are read when they are needed, one lesson at a time."""
    unasked = job.recipe.caption_dropout > 0 or job.distilled_guidance != 1
    texts = [*(lesson.prompt for lesson in job.lessons), *([NO_PROMPT] if unasked else [])]
    prompts = encode_captions(
        model,
        texts,
        tokens=job.recipe.text_tokens,
        cache=cache,
        storage=model.encoder_format(job.recipe.text_encoder_format),
    )
    placed = [lesson_pictures(lesson, partial(place, sides=_sides(job)), pair=job.compares) for lesson in job.lessons]
    latents = iter(encode_pictures(model, [picture for pair in placed for picture in pair], cache=cache))
    lessons = []
    for lesson, (source, _, *pair) in zip(job.lessons, placed, strict=True):
        width, height = source.placement.width, source.placement.height
        grid = height // PIXELS_PER_TOKEN, width // PIXELS_PER_TOKEN
        clean, target = next(latents), next(latents)
        lessons.append(
            KontextLesson(
                width,
                height,
                target=target,
                source=clean,
                prompt=prompts[lesson.prompt],
                empty=prompts[NO_PROMPT if unasked else lesson.prompt],
                weights=lesson_weights(job, lesson, *grid),
                rejected=next(latents) if pair else None,
            )
        )
    return lessons


def _sides(job: EditTrainJob) -> list[tuple[int, int]]:
    """The recipe's buckets, not the formats that the editor is asked for: a lesson's pictures must keep their shape."""
    return bucket_sides(job.recipe.resolution, job.recipe.bucket_step, aspect=job.recipe.aspect_buckets)


def _tokens(lesson: EditLesson, job: EditTrainJob) -> int:
    placement = place(lesson.load_source().size, _sides(job))
    return 2 * placement.width * placement.height // PIXELS_PER_TOKEN**2 + job.recipe.text_tokens


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[EditTrainJob, TrainHooks], EditTrained]:
    """What trains a LoRA on the editor in `folder`."""
    model = FluxModel.find(folder, reference, settings)
    cache = TensorCache(settings.scratch / "cache" / "flux")
    return lambda job, hooks: train_editor(model, job, hooks, cache)
