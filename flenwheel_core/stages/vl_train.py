"""The stage `vl_train`: lessons about pictures become a LoRA of the vision-language model."""

from functools import partial

from flenwheel_core.base.ids import digest_json
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.engine.vl_job import VlLesson, VlTrainJob
from flenwheel_core.models.registry import find_vl_trainer
from flenwheel_core.requests.vl_train import VlTrainRequest, VlTrainResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.training_hooks import training_hooks
from flenwheel_core.store.pictures import load_picture


def vl_train(request: VlTrainRequest, context: StageContext) -> VlTrainResult:
    """Train, or go on training, and keep the LoRA and its curve."""
    recipe = request.recipe
    job = VlTrainJob(
        run=request.key(),
        name=request.name,
        lessons=tuple(
            VlLesson(
                pictures=tuple(partial(load_picture, context.store, image) for image in item.images),
                question=item.question,
                answer=item.answer,
                weight=item.weight,
            )
            for item in request.items
        ),
        recipe=recipe,
        seed=request.seed,
        folder=context.scratch,
        most_pixels=request.most_pixels,
        memory_level=context.memory_level,
    )
    trained = find_vl_trainer(request.model, context.settings, request.backend)(
        job, training_hooks(context, recipe.steps)
    )
    return VlTrainResult(
        lora=LoraRecord(
            digest=context.store.put_blob(trained.lora),
            name=request.name,
            target="captioner",
            base_model=request.model,
            trigger=None,
            class_word=None,
            rank=recipe.lora.rank,
            alpha=float(recipe.lora.rank),
            steps=recipe.steps,
            images=len({image for item in request.items for image in item.images}),
            dataset=digest_json([item.model_dump(mode="json") for item in request.items]),
            request=request.key(),
        ),
        losses=trained.losses,
        eyes=trained.eyes,
    )
