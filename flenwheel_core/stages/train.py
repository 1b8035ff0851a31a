"""The stage `train`: a set of captioned pictures becomes a LoRA file."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.ids import digest_json
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.loras import KeptLora, LoraRecord, SampleImage
from flenwheel_core.engine.job import TrainJob, TrainPicture
from flenwheel_core.identity.embedding_math import as_vectors, cosines_to
from flenwheel_core.identity.people import character_in
from flenwheel_core.identity.screening import FingerprintSpace
from flenwheel_core.identity.verifiers import open_verifier, require_same_version
from flenwheel_core.models.family_options import option_problems
from flenwheel_core.models.references import ModelRole, resolve_model
from flenwheel_core.models.registry import family_of, find_trainer
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.train import TrainItem, TrainRequest, TrainResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.training_hooks import training_hooks
from flenwheel_core.store.pictures import load_picture

if TYPE_CHECKING:
    from PIL.Image import Image

    from flenwheel_core.engine.team import Team


def train(request: TrainRequest, context: StageContext) -> TrainResult:
    """Train, or go on training, and keep the LoRA, its samples and its curve; on several cards and machines if the recipe says so."""
    if request.recipe.hosts > 1:
        from flenwheel_core.stages.train_share import lead

        return lead(request, context)
    if request.recipe.gpus > 1:
        from flenwheel_core.stages.train_team import train_in_team

        return train_in_team(request, context)
    made = train_here(request, context, None)
    assert made is not None
    return made


def train_here(request: TrainRequest, context: StageContext, team: "Team | None") -> TrainResult | None:
    """Train in this process, alone or as one of a team; None in all of a team but the first, which alone has what was drawn and kept."""
    steps = request.recipe.steps
    first = team is None or team.rank == 0
    job = TrainJob(
        run=request.key(),
        name=request.name,
        pictures=tuple(_picture(item, context) for item in request.items),
        trigger=request.character.trigger,
        class_word=request.character.class_word,
        recipe=request.recipe,
        seed=request.seed,
        sampler=request.sampler,
        sample_prompts=request.sample_prompts,
        folder=context.scratch,
        memory_level=context.memory_level,
        keep_at=request.keep_at if first else (),
        look_at=request.look_at if first else (),
    )
    hooks = training_hooks(context, steps, team=team, score=identity_of(request, context))
    require_options(request.base, request.recipe, context.settings)
    say_masks(request, context)
    train_lora = find_trainer(request.base, context.settings)
    trained = train_lora(job, hooks)
    if not first:
        return None
    return TrainResult(
        lora=LoraRecord(
            digest=context.store.put_blob(trained.lora),
            name=request.name,
            target="generator",
            base_model=request.base,
            trigger=request.character.trigger,
            class_word=request.character.class_word,
            rank=request.recipe.lora.rank,
            alpha=float(request.recipe.lora.rank),
            steps=steps,
            images=len(request.items),
            dataset=digest_json([item.model_dump(mode="json") for item in request.items]),
            request=request.key(),
        ),
        losses=trained.losses,
        samples=tuple(
            SampleImage(
                step=sample.step,
                prompt=sample.prompt,
                seed=sample.seed,
                image=context.store.put_blob(sample.path.read_bytes()),
            )
            for sample in trained.samples
        ),
        kept=tuple(KeptLora(step=step, lora=context.store.put_blob(data)) for step, data in trained.kept),
        looks=trained.looks,
    )


def require_options(base: str, recipe: TrainingRecipe, settings: Settings) -> None:
    """Raises RecipeError for choices that the base model's family cannot take, before anything loads."""
    problems = option_problems(family_of(resolve_model(base, ModelRole.GENERATOR, settings)), recipe)
    if problems:
        raise RecipeError(
            "This base model cannot be trained so.", why="; ".join(problems), remedy="Mend the recipe's [train] table."
        )


def say_masks(request: TrainRequest, context: StageContext) -> None:
    """What becomes of the masks of a training set, before anything loads."""
    count = sum(item.mask is not None for item in request.items)
    if not count:
        return
    family = family_of(resolve_model(request.base, ModelRole.GENERATOR, context.settings))
    if "mask_floor" in family.idle_keys:
        context.progress.note(f"{count} pictures have masks, which {family.name} does not read: they are learned whole")
        return
    outside = f"what they leave black weighs {request.recipe.mask_floor:g}"
    context.progress.note(f"{count} of {len(request.items)} pictures have masks: {outside}, what they mark 1")


def identity_of(
    request: TrainRequest, context: StageContext
) -> "Callable[[Sequence[Image]], Mapping[str, float]] | None":
    """Mean cosine of sample pictures with the character's fingerprint; None if the request names none."""
    fingerprint, verifier_name = request.fingerprint, request.verifier
    if fingerprint is None or verifier_name is None:
        return None

    def score(images: "Sequence[Image]") -> Mapping[str, float]:
        with open_verifier(verifier_name, context.settings) as verifier:
            require_same_version(verifier, fingerprint)
            space = FingerprintSpace(fingerprint)
            people = [character_in(one, space)[0] for one in verifier.embed(images)]
        found = [one.embedding for one in people if one.embedding is not None]
        if not found:
            return {}
        identity = float(cosines_to(as_vectors(found), np.asarray(fingerprint.centroid)).mean())
        context.progress.note(f"sample pictures: identity {identity:.3f}")
        return {"identity": identity}

    return score


def _picture(item: TrainItem, context: StageContext) -> TrainPicture:
    return TrainPicture(
        digest=item.image,
        caption=item.caption,
        load=partial(load_picture, context.store, item.image),
        load_mask=None if item.mask is None else partial(load_picture, context.store, item.mask),
        weight=item.weight,
        begins=item.begins,
    )
