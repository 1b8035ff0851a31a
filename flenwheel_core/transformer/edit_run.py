"""What surrounds the training of an editor's LoRA in every family: a lesson's pictures, how many shapes are recorded, the finished file."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flenwheel_core.adapters.lora_file import UiNames, file_dtype, lora_bytes, ui_facts
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.engine.edit_job import EditLesson, EditTrained, EditTrainJob
from flenwheel_core.engine.loop import LoopOutcome
from flenwheel_core.engine.placed_pictures import PlacedPicture, picture_digest
from flenwheel_core.images.buckets import Placement, place
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.edit_task import EditLike, shapes_of

if TYPE_CHECKING:
    from PIL.Image import Image


def lesson_pictures(
    lesson: EditLesson, placement_of: Callable[[tuple[int, int]], Placement], *, pair: bool = False
) -> tuple[PlacedPicture, ...]:
    """Source and target where the family puts the source, and with `pair` what was rejected; another size is cut to it."""
    source = lesson.load_source()
    placement = placement_of(source.size)
    found = [_picture(source, placement, lesson.load_source)]
    for load in (lesson.load_target, *([lesson.load_rejected] if pair and lesson.load_rejected else [])):
        image = load()
        other = placement if image.size == source.size else place(image.size, [(placement.width, placement.height)])
        found.append(_picture(image, other, load))
    return tuple(found)


def further_pictures(
    lesson: EditLesson, placement_of: Callable[[tuple[int, int]], Placement]
) -> tuple[PlacedPicture, ...]:
    """The lesson's references where the family puts them, in their order."""
    found = []
    for load in lesson.load_references:
        image = load()
        found.append(_picture(image, placement_of(image.size), load))
    return tuple(found)


def recorded_shapes(lessons: Sequence[EditLike[Any]], recipe: TrainingRecipe, job: EditTrainJob) -> int:
    """How many combinations of shapes a run records as CUDA graphs: what the bare editor says, and guidance, are predictions too."""
    asks_bare = job.anchor > 0 or job.has_pairs
    return len(shapes_of(lessons, recipe)) * (1 + asks_bare + (job.distilled_guidance != 1.0))


def finished(
    job: EditTrainJob, adapted: AdaptedTransformer, outcome: LoopOutcome, names: UiNames, reference: str
) -> EditTrained:
    """The file of a run that ended, and its curve."""
    facts = ui_facts(
        names,
        name=job.name,
        base=reference,
        rank=job.recipe.lora.rank,
        steps=job.recipe.steps,
        images=len(job.lessons),
    )
    facts |= {"flenwheel.request": job.run, "flenwheel.base": reference}
    return EditTrained(lora_bytes(outcome.weights, adapted, facts, dtype=file_dtype(job.recipe.lora)), outcome.losses)


def _picture(image: "Image", placement: Placement, load: "Callable[[], Image]") -> PlacedPicture:
    return PlacedPicture(picture_digest(image), placement, load)
