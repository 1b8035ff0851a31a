"""A vision-language model learns verdicts, and looks at pictures for the critic: the rung `vision` of its ladder."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import Digest
from flenwheel_core.critic.knowledge import judgeables
from flenwheel_core.critic.ladder import folds_of
from flenwheel_core.documents.critics import VERDICTS, CriticLesson, Judgeable, LookedAt, Looker, Looks
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.engine.vl_job import VlLesson, VlTrainJob
from flenwheel_core.models.registry import find_vl_trainer, open_verdicts
from flenwheel_core.requests.critic_look import (
    CriticLookRequest,
    CriticLookResult,
    CriticLookTrainRequest,
    CriticLookTrainResult,
)
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.critic_train import read_lessons
from flenwheel_core.stages.picture_making import lora_files
from flenwheel_core.stages.training_hooks import training_hooks
from flenwheel_core.store.pictures import load_picture

if TYPE_CHECKING:
    from PIL.Image import Image

QUESTION = "Do the two pictures show the same character? Answer yes or no."
"""What a judge is asked: what it knows of likeness is where learning begins. A picture that nothing stands beside is asked about alone."""
ANSWERS: dict[Verdict, str] = {Verdict.REJECT: "no", Verdict.NEEDS_CORRECTION: "fix", Verdict.GOOD: "yes"}
_IN_ORDER = tuple(ANSWERS[verdict] for verdict in VERDICTS)


def critic_look_train(request: CriticLookTrainRequest, context: StageContext) -> CriticLookTrainResult:
    """A LoRA a fold, each from the lessons of other turns, and what it says of that fold's.

    Goes on where it stopped: from the fold's checkpoint. Raises InputError where nothing can be held out.
    """
    lessons = read_lessons(context.store, request.lessons)
    folds = folds_of(lessons)
    if folds is None:
        raise InputError(
            "A vision-language model cannot learn these verdicts.",
            why="they are too few, all alike, or of one source: none could be held out.",
            remedy="Review more pictures first.",
        )
    trainer = find_vl_trainer(request.model, context.settings)
    loras: list[Digest] = []
    for fold in range(int(folds.max()) + 1):
        folder = context.scratch / f"fold-{fold}"
        done = folder / "lora.safetensors"
        if not done.exists():
            there = (lesson for lesson, of in zip(lessons, folds.tolist(), strict=True) if of != fold)
            known = [lesson for lesson in there if _is_kept(lesson, context)]
            job = VlTrainJob(
                run=request.key(),
                name=f"critic-fold-{fold}",
                lessons=tuple(_vl_lesson(lesson, context) for lesson in known),
                recipe=request.recipe,
                seed=request.seed,
                folder=folder,
                most_pixels=request.most_pixels,
                memory_level=context.memory_level,
            )
            context.progress.note(f"fold {fold}: {len(known)} verdicts are learned")
            made = trainer(job, training_hooks(context, request.recipe.steps)).lora
            folder.mkdir(parents=True, exist_ok=True)
            part = done.with_suffix(".part")
            part.write_bytes(made)
            part.replace(done)
        loras.append(context.store.put_blob(done.read_bytes()))
    looker = Looker(model=request.model, loras=tuple(loras), most_pixels=request.most_pixels)
    said = _look(lessons, looker, context, [[fold] for fold in folds.tolist()])
    return CriticLookTrainResult(looker=looker, looks=context.store.put_blob(said.to_bytes()), lessons=len(lessons))


def critic_look(request: CriticLookRequest, context: StageContext) -> CriticLookResult:
    """What every LoRA of the looker says of the pictures of a gate."""
    screenings = context.store.get_screenings(request.screenings) if request.screenings is not None else ()
    rows = {row.image: row for row in screenings}
    records = context.store.get_images(request.images)
    pictures = list(judgeables(records, rows, character="", kind="", threshold=None))
    said = _look(pictures, request.looker, context, [list(range(len(request.looker.loras)))] * len(pictures))
    return CriticLookResult(looks=context.store.put_blob(said.to_bytes()), pictures=len(pictures))


def _look(
    pictures: Sequence[Judgeable], looker: Looker, context: StageContext, asked: Sequence[Sequence[int]]
) -> Looks:
    """What the LoRAs that are asked about each picture say of it; each LoRA is put on once."""
    found: list[dict[int, tuple[float, ...]]] = [{} for _ in pictures]
    context.progress.loading(f"vision-language model {looker.model}")
    with open_verdicts(
        looker.model,
        context.settings,
        context.setup(),
        question=QUESTION,
        answers=_IN_ORDER,
        most_pixels=looker.most_pixels,
    ) as model:
        done, of = 0, sum(map(len, asked))
        for number, lora in enumerate(looker.loras):
            model.wear(lora_files([LoraUse(digest=lora)], context)[0].path)
            for index in np.flatnonzero([number in some for some in asked]).tolist():
                context.check_stop()
                if not _is_kept(pictures[index], context):
                    continue
                found[index][number] = model.log_odds([load() for load in _shown(pictures[index], context)])
                done += 1
                context.progress.step(done, of, "pictures looked at")
    return Looks(
        pictures=tuple(
            LookedAt(image=picture.image, log_odds=tuple(value for number in sorted(said) for value in said[number]))
            for picture, said in zip(pictures, found, strict=True)
        )
    )


def _vl_lesson(lesson: CriticLesson, context: StageContext) -> VlLesson:
    return VlLesson(_shown(lesson, context), QUESTION, ANSWERS[lesson.verdict])


def _shown(picture: Judgeable, context: StageContext) -> "tuple[partial[Image], ...]":
    return tuple(partial(load_picture, context.store, image) for image in _images(picture))


def _is_kept(picture: Judgeable, context: StageContext) -> bool:
    """False if a picture is gone from the store: it is neither learned nor looked at."""
    return all(context.store.has_blob(image) for image in _images(picture))


def _images(picture: Judgeable) -> tuple[Digest, ...]:
    """The nearest real source of the character, or what the picture was made from; then the picture."""
    row = picture.screening
    beside = row.nearest_reference if row is not None and row.nearest_reference is not None else picture.source
    return (picture.image,) if beside is None else (beside, picture.image)
