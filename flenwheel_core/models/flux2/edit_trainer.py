"""Training an editor's LoRA on FLUX.2 klein: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.edit_job import EditTrained, EditTrainJob
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.flux2.adapter import adapt, start_recorder
from flenwheel_core.models.flux2.artist import NO_PROMPT
from flenwheel_core.models.flux2.encoding import encode_pictures, encode_prompts
from flenwheel_core.models.flux2.geometry import grid_of, reference_placement, source_placement
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.names import UI_NAMES
from flenwheel_core.models.flux2.task import KleinEditTask, KleinLesson
from flenwheel_core.models.flux2.trainer import DISTILLED
from flenwheel_core.models.protocols import ModelSetup
from flenwheel_core.transformer.edit_run import finished, further_pictures, lesson_pictures, recorded_shapes
from flenwheel_core.transformer.edit_task import Aim
from flenwheel_core.transformer.lesson_weights import lesson_weights


def train_editor(model: Flux2Model, job: EditTrainJob, hooks: TrainHooks, cache: TensorCache) -> EditTrained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    Raises InputError before anything loads, InterruptedStageError after saving when told to stop.
    """
    if not job.lessons:
        raise InputError("There are no triplets to train on.", remedy="Close a gate with approved or corrected edits.")
    if model.is_distilled:
        hooks.note(DISTILLED)
    recipe = job.recipe
    hooks.loading("encoder")
    lessons = encode_lessons(model, job, cache)
    hooks.loading("transformer")
    setup = ModelSetup(storage=job.storage, memory_level=job.memory_level, note=hooks.note)
    tokens = recipe.batch_size * (1 + job.has_pairs) * max(lesson.tokens for lesson in lessons)
    adapted = adapt(model, recipe, tokens=tokens, seed=job.seed, setup=setup)
    adapted.transformer.train()
    shapes = recorded_shapes(lessons, recipe, job)
    task = KleinEditTask(
        adapted,
        recipe,
        lessons,
        seed=job.seed,
        dtype=model.dtype,
        aim=Aim.of(job, adapted.without_adapter),
        recorder=start_recorder(model, recipe, adapted, setup, shapes=shapes),
    )
    outcome = run_job(task, job, hooks)
    return finished(job, adapted, outcome, UI_NAMES, model.reference)


def encode_lessons(model: Flux2Model, job: EditTrainJob, cache: TensorCache) -> list[KleinLesson]:
    """Every lesson as tensors. Pictures are read when they are needed, one lesson at a time."""
    area = job.recipe.resolution**2
    unasked = job.recipe.caption_dropout > 0 or job.distilled_guidance != 1
    texts = [*(lesson.prompt for lesson in job.lessons), *([NO_PROMPT] if unasked else [])]
    prompts = encode_prompts(
        model,
        texts,
        tokens=job.recipe.text_tokens,
        cache=cache,
        storage=model.encoder_format(job.recipe.text_encoder_format),
    )
    placed = [
        lesson_pictures(lesson, partial(source_placement, area=area), pair=job.compares) for lesson in job.lessons
    ]
    further = [further_pictures(lesson, partial(reference_placement, area=area)) for lesson in job.lessons]
    pictures = [picture for pair, more in zip(placed, further, strict=True) for picture in (*pair, *more)]
    latents = iter(encode_pictures(model, pictures, cache=cache))
    lessons = []
    for lesson, (source, _, *pair), more in zip(job.lessons, placed, further, strict=True):
        grid = grid_of((source.placement.width, source.placement.height))
        reference, result = next(latents), next(latents)
        rejected = next(latents).tokens if pair else None
        lessons.append(
            KleinLesson(
                result=result,
                references=(reference, *(next(latents) for _ in more)),
                prompt=prompts[lesson.prompt],
                empty=prompts[NO_PROMPT if unasked else lesson.prompt],
                weights=lesson_weights(job, lesson, *grid),
                rejected=rejected,
            )
        )
    return lessons


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[EditTrainJob, TrainHooks], EditTrained]:
    """What trains a LoRA on the editor in `folder`."""
    model = Flux2Model.find(folder, reference, settings)
    cache = TensorCache(settings.scratch / "cache" / "flux2")
    return lambda job, hooks: train_editor(model, job, hooks, cache)
