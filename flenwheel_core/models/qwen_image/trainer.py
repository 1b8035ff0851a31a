"""Training the editor's LoRA: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable
from pathlib import Path

import torch

from flenwheel_core.adapters.lora_file import file_dtype
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.edit_job import EditTrained, EditTrainJob
from flenwheel_core.engine.graphs import Recorder, records
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.protocols import ModelSetup
from flenwheel_core.models.qwen_image.adapter import adapt, lora_file, require_room
from flenwheel_core.models.qwen_image.conditioning import NO_PROMPT, PIXELS_PER_TOKEN, Size
from flenwheel_core.models.qwen_image.encoding import Instruction, Picture, encode_instructions, encode_pictures
from flenwheel_core.models.qwen_image.fast import FastQwen
from flenwheel_core.models.qwen_image.loading import QwenEditModel, find_model
from flenwheel_core.models.qwen_image.task import EditExample, EditTask
from flenwheel_core.transformer.edit_run import recorded_shapes
from flenwheel_core.transformer.edit_task import Aim
from flenwheel_core.transformer.lesson_weights import lesson_weights


def train_editor(model: QwenEditModel, job: EditTrainJob, hooks: TrainHooks, cache: TensorCache) -> EditTrained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    Raises InputError before anything loads, InterruptedStageError after saving when told to stop.
    """
    if not job.lessons:
        raise InputError("There are no triplets to train on.", remedy="Close a gate with approved or corrected edits.")
    pictures = (
        2 * job.recipe.batch_size * (1 + job.has_pairs)
    )  # target and source; further references and the prompt come on top
    require_room(model, job.recipe, pictures * (job.recipe.resolution // PIXELS_PER_TOKEN) ** 2, job.memory_level)
    hooks.loading("encoder")
    examples = encode_lessons(model, job, cache)
    hooks.loading("transformer")
    tokens = job.recipe.batch_size * (1 + job.has_pairs) * max(example.tokens for example in examples)
    adapted = adapt(
        model, job.recipe, tokens, seed=job.seed, setup=ModelSetup(memory_level=job.memory_level, note=hooks.note)
    )
    recorder = None
    fast = adapted.transformer if isinstance(adapted.transformer, FastQwen) else None
    if fast is not None and model.device.type == "cuda" and records(job.recipe, compiled=fast.plan.compile):
        shapes = recorded_shapes(examples, job.recipe, job)
        recorder = Recorder(list(adapted.parameters.values()), hooks.note, shapes=shapes)
    task = EditTask(
        adapted.transformer,
        adapted.parameters,
        model.load_scheduler(),
        job.recipe,
        examples,
        seed=job.seed,
        dtype=model.dtype,
        aim=Aim.of(job, adapted.without_adapter),
        recorder=recorder,
    )
    outcome = run_job(task, job, hooks)
    file = lora_file(
        outcome.weights,
        adapted,
        name=job.name,
        base=model.reference,
        rank=job.recipe.lora.rank,
        steps=job.recipe.steps,
        triplets=len(job.lessons),
        run=job.run,
        dtype=file_dtype(job.recipe.lora),
    )
    return EditTrained(file, outcome.losses)


def encode_lessons(model: QwenEditModel, job: EditTrainJob, cache: TensorCache) -> list[EditExample]:
    """Every lesson as tensors: prompts with their pictures, clean latents of source, references and target, loss weights.

    Pictures are read when they are needed, one lesson at a time.
    """
    area = job.recipe.resolution**2
    shown = [
        tuple(Picture.of(load) for load in (lesson.load_source, *lesson.load_references)) for lesson in job.lessons
    ]
    targets = [Picture.of(lesson.load_target) for lesson in job.lessons]
    wanted = [Instruction(lesson.prompt, given, area) for lesson, given in zip(job.lessons, shown, strict=True)]
    unasked = job.recipe.caption_dropout > 0 or job.distilled_guidance != 1
    empty = [Instruction(NO_PROMPT, given, area) for given in shown] if unasked else []
    texts = encode_instructions(model, [*wanted, *empty], cache)
    prompts, empties = texts[: len(wanted)], texts[len(wanted) :] or texts[: len(wanted)]
    sizes = [instruction.sizes(model) for instruction in wanted]
    references = [
        pair for given, size in zip(shown, sizes, strict=True) for pair in zip(given, size.references, strict=True)
    ]
    answers = [(target, size.target) for target, size in zip(targets, sizes, strict=True)]
    refused = {
        index: (Picture.of(lesson.load_rejected), sizes[index].target)
        for index, lesson in enumerate(job.lessons)
        if job.compares and lesson.load_rejected is not None
    }
    latents = encode_pictures(model, [*references, *answers, *refused.values()], cache)
    clean, right = iter(latents[: len(references)]), latents[len(references) :]
    rejected = dict(zip(refused, right[len(answers) :], strict=True))
    return [
        EditExample(
            sizes=sizes[index],
            target=right[index],
            references=torch.cat([next(clean) for _ in shown[index]]),
            prompt=prompts[index],
            empty=empties[index],
            weights=lesson_weights(job, job.lessons[index], *_grid(sizes[index].target)),
            rejected=rejected.get(index),
        )
        for index in range(len(job.lessons))
    ]


def _grid(size: Size) -> tuple[int, int]:
    """Rows and columns of tokens."""
    return size[1] // PIXELS_PER_TOKEN, size[0] // PIXELS_PER_TOKEN


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[EditTrainJob, TrainHooks], EditTrained]:
    """What trains a LoRA on the editor in `folder`."""
    cache = TensorCache(settings.scratch / "cache" / "qwen_edit")

    def train(job: EditTrainJob, hooks: TrainHooks) -> EditTrained:
        model = find_model(folder, reference, settings, job.storage, memory_level=job.memory_level)
        return train_editor(model, job, hooks, cache)

    return train
