"""The stage `edit_train`: a set of triplets becomes a LoRA of the editor."""

from functools import partial

from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.engine.edit_job import EditLesson, EditTrainJob, lesson_frequencies
from flenwheel_core.models.registry import find_edit_trainer
from flenwheel_core.recipes.editor import COMPARISON_STRENGTH
from flenwheel_core.requests.edit_train import EditTrainRequest, EditTrainResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.lesson_references import references_taken
from flenwheel_core.stages.training_hooks import training_hooks
from flenwheel_core.store.pictures import load_picture
from flenwheel_core.store.triplets import get_triplets


def edit_train(request: EditTrainRequest, context: StageContext) -> EditTrainResult:
    """Train, or go on training, and keep the LoRA and its curve."""
    triplets = get_triplets(context.store, request.triplets).triplets
    weights = lesson_frequencies([triplet.kind for triplet in triplets], request.corrections_weight)
    references = references_taken(request.editor, [triplet.references for triplet in triplets], context)
    steps = request.recipe.steps
    job = EditTrainJob(
        run=request.key(),
        name=request.name,
        lessons=tuple(
            EditLesson(
                prompt=triplet.prompt,
                load_source=partial(load_picture, context.store, triplet.source),
                load_target=partial(load_picture, context.store, triplet.target),
                load_rejected=None
                if triplet.rejected is None
                else partial(load_picture, context.store, triplet.rejected),
                approved=triplet.kind == "approved",
                weight=weight,
                load_references=tuple(partial(load_picture, context.store, digest) for digest in given),
            )
            for triplet, weight, given in zip(triplets, weights, references, strict=True)
        ),
        recipe=request.recipe,
        changed_weight=request.changed_weight,
        kept_weight=request.kept_weight,
        mistake_weight=request.mistake_weight or 1.0,
        distilled_guidance=request.distilled_guidance or 1.0,
        anchor=request.anchor or 0.0,
        corrections_teach=request.corrections_teach or "answer",
        comparison_strength=request.comparison_strength or COMPARISON_STRENGTH,
        seed=request.seed,
        folder=context.scratch,
        storage=request.storage,
        memory_level=context.memory_level,
    )
    hooks = training_hooks(context, steps)
    trained = find_edit_trainer(request.editor, context.settings)(job, hooks)
    return EditTrainResult(
        lora=LoraRecord(
            digest=context.store.put_blob(trained.lora),
            name=request.name,
            target="editor",
            base_model=request.editor,
            trigger=None,
            class_word=None,
            rank=request.recipe.lora.rank,
            alpha=float(request.recipe.lora.rank),
            steps=steps,
            images=len(triplets),
            dataset=request.triplets,
            request=request.key(),
        ),
        losses=trained.losses,
    )
