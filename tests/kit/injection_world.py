"""A few drawn people for tests of injection: their photos in a store or in folders, and a head that learned nothing yet."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Labels, Sampler
from flenwheel_core.documents.injections import HeadFacts, marks
from flenwheel_core.injection.heads import LinearHead, head_bytes
from flenwheel_core.injection.identities import Identity
from flenwheel_core.injection.phrases import Photo
from flenwheel_core.injection.residual import rows_for_others
from flenwheel_core.injection.tasks import Lessons
from flenwheel_core.library.injections import Injections
from flenwheel_core.models.prompt_model import EncodedPrompt, Size
from flenwheel_core.nano.world import HELD_OUT_FROM, caption, description, make_character, make_view, render
from flenwheel_core.plans.injection import pinned_pair
from flenwheel_core.recipes.injection import HeadRecipe
from flenwheel_core.requests.inject import (
    InjectionIdentity,
    InjectionPhoto,
    InjectionPrompt,
    InjectTrainRequest,
    InjectTrainResult,
)
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

FAST = Sampler(steps=2, guidance=3.5, true_cfg=1.0, width=128, height=128)
PROMPT = InjectionPrompt(
    text="photo of a person, smiling, front view",
    labels=Labels(angle="front", expression="smiling"),
    edit="same person, smiling, front view",
)

FACTS = HeadFacts(
    place="words",
    rows=1,
    cells=1,
    pixels=448 * 448,
    features="eyes",
    inputs=4,
    width=6,
    feature_model="eyes@1",
    feature_version="a" * 64,
    base="base@1",
    space="b" * 64,
    identities=2,
    photos=4,
    stages=("flow",),
    request="c" * 64,
)
"""Of a head that was made before heads named their photos."""


def drawn_identity(store: Store, seed: int, photos: int = 2, *, known: bool = False) -> InjectionIdentity:
    """Someone by so many photos, and one more that is held out."""
    character = make_character(HELD_OUT_FROM + seed)
    views = [
        replace(make_view(seed * 50 + i, portrait_share=1.0), clothing=None, style="photo") for i in range(photos + 1)
    ]
    images = [store.put_blob(encode_png(render(character, view), {})) for view in views]
    words = " and ".join(description(character))
    found = []
    for view, image in zip(views[:photos], images, strict=False):
        text = caption(character, view, name="person").replace("photo of person", "photo of a person")
        described = text.replace("a person", f"a person with {words}")
        found.append(InjectionPhoto(image=image, caption=text, described=described))
    return InjectionIdentity(
        name=f"someone-{seed}", photos=tuple(found), held_out=(images[-1],), known=known, description=words
    )


def photo_folder(folder: Path, seed: int, photos: int = 2, *, described: bool = False) -> Path:
    """A folder as the source document has it."""
    folder.mkdir(parents=True)
    character = make_character(HELD_OUT_FROM + seed)
    for number in range(photos):
        view = replace(make_view(seed * 50 + number, portrait_share=1.0), clothing=None, style="photo")
        render(character, view).save(folder / f"photo_view_{number}.png")
        if described:
            (folder / f"photo_view_{number}.txt").write_text(" and ".join(description(character)))
    return folder


class ToyPrompts:
    """A model of prompt embeddings in a few numbers: what it predicts is a fixed linear function of the prompt's mean token."""

    model, space, width, no_prompt = "toy", "0" * 64, 6, ""
    device = torch.device("cpu")

    def __init__(self) -> None:
        self._weights = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))

    def velocity(self, prompts: list[EncodedPrompt], noisy: Tensor, sigma: Tensor, size: Size) -> Tensor:
        means = torch.stack([prompt.tokens.mean(0) for prompt in prompts])
        return noisy - (means @ self._weights)[:, None]

    def shift(self, size: Size) -> float:
        return 1.0


def toy_lessons(identities: int = 3, views: int = 3) -> Lessons:
    """Photos whose content depends on who it is, and features that say who."""
    generator = torch.Generator().manual_seed(1)
    features = [
        torch.randn(1, 5, generator=generator) + 0.05 * torch.randn(views, 5, generator=generator)
        for _ in range(identities)
    ]
    prompt = EncodedPrompt(torch.randn(4, 6, generator=generator))
    photos = []
    for number in range(identities):
        described = EncodedPrompt(torch.randn(6, 6, generator=generator))
        content = torch.randn(1, 4, generator=generator).expand(2, 4)
        photos += [Photo(number, view, content, prompt, (1,), described, (1,), (2, 3)) for view in range(views)]
    return Lessons(tuple(Identity(str(i), one) for i, one in enumerate(features)), tuple(photos), (32, 16))


def blank_head(store: Store, settings: Settings, recipe: HeadRecipe) -> str:
    """A head for the nano models with random weights."""
    head, facts = _blank(settings, recipe)
    return store.put_blob(head_bytes(dict(head.state_dict()), facts))


def add_blank_head(
    store: Store, settings: Settings, recipe: HeadRecipe, identities: tuple[InjectionIdentity, ...]
) -> str:
    """The same as if it had been trained here, on these identities."""
    features, base = pinned_pair("nano", "nano", settings)
    head, facts = _blank(settings, recipe)
    photos = marks(photo.image for one in identities for photo in one.photos)
    facts = facts.model_copy(update={"feature_model": features, "base": base, "learned_from": tuple(sorted(photos))})
    made = store.put_blob(head_bytes(dict(head.state_dict()), facts))
    request = InjectTrainRequest(identities=identities, features=features, base=base, width=128, height=128)
    Injections(store).add_head(request, InjectTrainResult(head=made, facts=facts, curves=()))
    return made


def _blank(settings: Settings, recipe: HeadRecipe) -> tuple[LinearHead, HeadFacts]:
    from flenwheel_core.models.registry import open_features, open_prompt_model

    with open_features("nano", settings, kind=recipe.features) as features, open_prompt_model("nano", settings) as base:
        inputs = features.width * recipe.cells**2
        said = base.encode([PROMPT.text])[PROMPT.text]
        rows = recipe.rows + (rows_for_others(said) if recipe.place == "phrase" else 0)
        facts = HeadFacts(
            place=recipe.place,
            rows=rows,
            cells=recipe.cells,
            pixels=recipe.pixels,
            features=recipe.features,
            inputs=inputs,
            width=base.width,
            feature_model="nano",
            feature_version=features.version,
            base="nano",
            space=base.space,
            identities=1,
            photos=1,
            stages=("flow",),
            request="0" * 64,
        )
        return LinearHead(inputs, rows, base.width, seed=3, free=recipe.place == "phrase"), facts
