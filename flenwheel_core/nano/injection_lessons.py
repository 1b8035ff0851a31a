"""A head for the nano models, for whoever has none: what it learns from is drawn, so that it takes a minute and nobody's photos."""

from dataclasses import replace

from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.nano.world import HELD_OUT_FROM, caption, description, make_character, make_view, render
from flenwheel_core.plans.injection import training
from flenwheel_core.plans.subjects import usable_recipe
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.requests.inject import InjectionIdentity, InjectionPhoto, InjectTrainRequest
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

CHARACTERS = 150
PHOTOS = 3
EPOCHS = 1.0
SIDE_PX = 128
_FIRST = HELD_OUT_FROM + 900_000
"""No character of the demo or of a benchmark is among them."""


def nano_head(character: str, store: Store, settings: Settings) -> InjectTrainRequest | None:
    """The training of a head for a character whose recipe sees and draws with the nano models; None for another recipe."""
    known = Library(store).character(character)
    models = usable_recipe(known.recipe, known.kind).models
    if any((reference or "").partition("@")[0] != "nano" for reference in (models.captioner, models.base)):
        return None
    return training(
        tuple(_lesson(_FIRST + number, store) for number in range(CHARACTERS)),
        features="nano",
        base="nano",
        head=HeadRecipe(cells=3, tokens=24),
        learning=LearningRecipe(epochs=EPOCHS, batch_size=4, learning_rate=5e-4, stages=("regression",)),
        width=SIDE_PX,
        height=SIDE_PX,
        settings=settings,
    )


def _lesson(seed: int, store: Store) -> InjectionIdentity:
    """A drawn character by portraits in its own clothes, each described."""
    character, words = make_character(seed), " and ".join(description(make_character(seed)))
    photos = []
    for number in range(PHOTOS):
        view = replace(make_view(seed * 100 + number, portrait_share=1.0), clothing=None, style="photo")
        plain = caption(character, view, name="person").replace("photo of person", "photo of a person")
        photos.append(
            InjectionPhoto(
                image=store.put_blob(encode_png(render(character, view), {})),
                caption=plain,
                described=plain.replace("a person", f"a person with {words}"),
            )
        )
    return InjectionIdentity(name=f"drawn-{seed}", photos=tuple(photos), known=True)
