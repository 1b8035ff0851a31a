"""The stage `inject_train`: photos of identities become a linear head."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.injections import HeadFacts, marks
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.images.buckets import fit, place
from flenwheel_core.injection.heads import head_bytes
from flenwheel_core.injection.identities import Identity, see
from flenwheel_core.injection.people import require_one_person
from flenwheel_core.injection.phrases import Photo
from flenwheel_core.injection.tasks import Lessons, difference
from flenwheel_core.injection.training import HeadJob, learn
from flenwheel_core.models.prompt_model import PromptModel, Size
from flenwheel_core.models.registry import open_features, open_prompt_model
from flenwheel_core.recipes.injection import HeadRecipe
from flenwheel_core.requests.inject import (
    InjectionIdentity,
    InjectionPhoto,
    InjectTrainRequest,
    InjectTrainResult,
    StageCurve,
)
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.training_hooks import training_hooks
from flenwheel_core.store.pictures import load_picture

if TYPE_CHECKING:
    from PIL.Image import Image

PHOTO_OF = "a photo of "
PLAIN = PHOTO_OF + "a {words}"
"""What a photo without a caption is said to show."""


def inject_train(request: InjectTrainRequest, context: StageContext) -> InjectTrainResult:
    """Train, or go on training, and keep the head and its curves. Features are made first: no two models share the card."""
    if "regression" in request.learning.stages and not any(
        photo.described and photo.described != photo.caption for one in request.identities for photo in one.photos
    ):
        raise InputError(
            "No photo is described in words, so there are no captions' embeddings to learn.",
            why="the source document trained towards zero here, which teaches a head to do nothing.",
            remedy="Put a .txt with a description beside each photo, name a captioner, or learn from pictures alone: --stages flow.",
        )
    if request.verifier is not None:
        require_single(request.verifier, request.identities, context)
    identities, version, model_name = seen_identities(request, context)
    context.progress.loading(request.base)
    with open_prompt_model(request.base, context.settings, context.setup()) as model:
        lessons = _lessons(request, context, identities, model)
        job = HeadJob(request.key(), request.head, request.learning, context.scratch)
        learned = learn(model, lessons, job, training_hooks(context, _steps(request)))
        facts = HeadFacts(
            place=request.head.place,
            rows=len(learned.head["scale"]),
            cells=request.head.cells,
            pixels=request.head.pixels,
            features=request.head.features,
            inputs=lessons.identities[0].features.shape[1],
            width=model.width,
            feature_model=model_name,
            feature_version=version,
            base=request.base,
            space=model.space,
            identities=len(request.identities),
            photos=len(lessons.photos),
            stages=request.learning.stages,
            request=request.key(),
            learned_from=tuple(sorted(marks(photo.image for one in request.identities for photo in one.photos))),
        )
    names = {str(number): one.name for number, one in enumerate(request.identities)}
    oracle = {names[number]: residual for number, residual in learned.oracle.items()}
    return InjectTrainResult(
        head=context.store.put_blob(head_bytes(dict(learned.head), facts)),
        facts=facts,
        oracle=context.store.put_blob(tensor_bytes(oracle)) if oracle else None,
        curves=tuple(StageCurve(stage=name, losses=losses) for name, losses in learned.curves.items()),
    )


def require_single(reference: str, identities: Sequence[InjectionIdentity], context: StageContext) -> None:
    """Raises InputError for a photo that somebody gave and that shows several people, before a model is loaded that is large."""
    given = [photo for one in identities for photo in one.photos if photo.name]
    if given:
        with open_verifier(reference, context.settings) as verifier:
            require_one_person(verifier, [(photo.name, load_picture(context.store, photo.image)) for photo in given])


def seen_identities(request: InjectTrainRequest, context: StageContext) -> tuple[tuple[Identity, ...], str, str]:
    """Features of all photos, with the version of what saw them and its name."""
    context.progress.loading(request.features)
    found = []
    with open_features(request.features, context.settings, context.setup(), kind=request.head.features) as model:
        for number, one in enumerate(request.identities):
            context.check_stop()
            photos: list[Image] = [load_picture(context.store, photo.image) for photo in one.photos]
            found.append(see(model, one.name, photos, request.head))
            context.progress.step(number + 1, len(request.identities), "identities")
        return tuple(found), model.version, model.model


def captions_of(photo: InjectionPhoto, head: HeadRecipe) -> tuple[str, str]:
    """What a photo is said to show, and the same with all that is said of who it is; the same twice where nobody described it.

    The words before a description are part of a phrase: where there is no caption, it gets those of the plain one.
    """
    caption = photo.caption or PLAIN.format(words=head.words)
    if not photo.described:
        return caption, caption
    before = PHOTO_OF if head.place == "phrase" and not photo.caption else ""
    return caption, before + photo.described


def _lessons(
    request: InjectTrainRequest, context: StageContext, identities: tuple[Identity, ...], model: PromptModel
) -> Lessons:
    size = (request.width, request.height)
    given = [
        (number, view, photo) for number, one in enumerate(request.identities) for view, photo in enumerate(one.photos)
    ]
    said = [captions_of(photo, request.head) for _, _, photo in given]
    captions, described = [caption for caption, _ in said], [words for _, words in said]
    prompts = model.encode([*captions, *described])
    if "flow" in request.learning.stages or request.learning.oracle_steps:
        latents = model.latents([_cut(load_picture(context.store, photo.image), size) for _, _, photo in given], size)
    else:
        latents = [torch.zeros(0, 0)] * len(given)  # captions teach without pictures

    def words_in(text: str) -> tuple[int, ...]:
        return () if request.head.place == "all" else model.places(text, request.head.words)

    photos = tuple(
        Photo(
            number,
            view,
            one,
            prompts[caption],
            words_in(caption),
            prompts[words],
            words_in(words),
            model.places(words, more) if (more := difference(caption, words)) else (),
        )
        for (number, view, _), one, caption, words in zip(given, latents, captions, described, strict=True)
    )
    return Lessons(identities, photos, size)


def _cut(picture: "Image", size: Size) -> "Image":
    """A photo at the size it is learned at: hundreds of whole ones would not fit the memory."""
    return fit(picture, place(picture.size, [size]))


def _steps(request: InjectTrainRequest) -> int:
    photos = sum(len(one.photos) for one in request.identities)
    return max(request.learning.oracle_steps, request.learning.steps(photos))
