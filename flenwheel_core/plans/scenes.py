"""Plans of a style: scenes and seeds for synthetic pictures and for the style card, and which paintings are kept for measuring."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.ids import Digest, derive_seed
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.identity.captions import labels_in, with_trigger
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.style import StyleRecipe

HELD_OUT = "held_out"
"""How folders of paintings that are never trained on begin, as `flenwheel dataset prepare` calls them."""
PHOTOS = "photos"
"""The folder of a style's photographs: what the world looks like that its painters painted. They are measured, never trained on."""
LEAST_HELD_OUT = 2
"""Fewer paintings are no distribution."""
_COPY = re.compile(r"-(?:flipped|cut\d+)$")


def style_choices(recipe: Recipe) -> StyleRecipe:
    """The recipe's [style] table. Raises RecipeError if it has none."""
    if recipe.style is None:
        raise RecipeError(
            f"The recipe {recipe.name} has no [style] table.",
            why="a style is drawn and measured with its scenes.",
            remedy="Take a style's recipe, such as flux_style_24gb or nano_style.",
        )
    return recipe.style


def plan_scenes(subject: CharacterRef, recipe: Recipe, *, turn: int, round_: int = 1) -> tuple[GenerateItem, ...]:
    """The pictures to generate: scene after scene, several seeds each. Another turn or round gives other seeds and another order."""
    choices, made = style_choices(recipe), recipe.generate
    seed = derive_seed(made.seed, "scenes", turn, round_)
    order = sorted(range(len(choices.scenes)), key=lambda index: derive_seed(seed, "order", index))
    items: list[GenerateItem] = []
    for number in range(-(-made.target_images // made.seeds_per_prompt)):
        scene = order[number % len(order)]
        for repeat in range(min(made.seeds_per_prompt, made.target_images - len(items))):
            name, chance = f"image-{number:04d}-{repeat}", derive_seed(seed, "image", number, repeat)
            items.append(_item(with_trigger(choices.scenes[scene], subject), name, f"scene-{scene + 1:02d}", chance))
    return tuple(items)


def style_card_items(subject: CharacterRef, recipe: Recipe) -> tuple[GenerateItem, ...]:
    """What the benchmark draws: each scene of the card with `seeds_per_cell` seeds, the same for every LoRA and turn."""
    return tuple(
        scene.model_copy(update={"prompt": with_trigger(scene.prompt, subject)}) for scene in card_scenes(recipe)
    )


def card_scenes(recipe: Recipe) -> tuple[GenerateItem, ...]:
    """The same without trigger and class word: what a base draws beside."""
    choices, card = style_choices(recipe), recipe.benchmark
    return tuple(
        _item(scene, f"{cell}-{number}", cell, derive_seed(card.seed, "card", cell, number))
        for index, scene in enumerate(choices.card)
        for cell in (f"card-{index + 1:02d}",)
        for number in range(card.seeds_per_cell)
    )


def sample_scenes(subject: CharacterRef, recipe: Recipe, number: int) -> tuple[str, ...]:
    """Prompts for the sample grids while training: spread over the scenes, always the same."""
    scenes = style_choices(recipe).scenes
    chosen = [scenes[index * len(scenes) // number] for index in range(min(number, len(scenes)))]
    return tuple(with_trigger(scene, subject) for scene in chosen)


def held_out(sources: Sequence[ImageRecord], recipe: Recipe) -> tuple[ImageRecord, ...]:
    """The paintings that are only measured against: those of folders named held_out_..., else a share, the same for the same pictures.

    Copies of one painting (`-flipped`, `-cut0`) stay together, and of held-out ones only the painting itself is measured.
    """
    sources = [source for source in sources if not is_photo(source.item)]
    named = [source for source in sources if is_held_out(source.item)]
    if len(named) >= LEAST_HELD_OUT:
        return tuple(source for source in named if painting_of(source.item) == source.item.rpartition(".")[0])
    by_name = sorted(sources, key=lambda source: (len(source.item), source.item), reverse=True)
    whole = {painting_of(source.item): source for source in by_name}
    number = max(LEAST_HELD_OUT, round(len(whole) * style_choices(recipe).held_out))
    order = sorted(whole, key=lambda name: derive_seed(0, "held out", whole[name].digest))
    return tuple(whole[name] for name in sorted(order[:number]))


def is_held_out(item: str) -> bool:
    """True for a file in a folder of paintings that are kept for measuring."""
    return any(part.startswith(HELD_OUT) for part in PurePosixPath(item).parts[:-1])


def is_photo(item: str) -> bool:
    """True for a file in a style's folder of photographs."""
    return PHOTOS in PurePosixPath(item.lower()).parts[:-1]


def photos_in(sources: Sequence[ImageRecord]) -> tuple[ImageRecord, ...]:
    """A style's photographs; none where there are too few for a distribution."""
    found = tuple(source for source in sources if is_photo(source.item))
    return found if len(found) >= LEAST_HELD_OUT else ()


def photos_note(photos: Sequence[ImageRecord]) -> str:
    """What becomes of a style's photographs, for people."""
    return f"{len(photos)} pictures in {PHOTOS}/ are measured, not trained on."


def painting_of(item: str) -> str:
    """The name of the painting that a file shows: its mirrored and cut copies share it."""
    return _COPY.sub("", item.rpartition(".")[0] or item)


def trained_on(sources: Sequence[ImageRecord], kept: Sequence[ImageRecord]) -> tuple[Digest, ...]:
    """The sources that may be trained on: none that is held out, no copy of one, and no photograph."""
    names = {painting_of(source.item) for source in kept}
    return tuple(
        source.digest
        for source in sources
        if not (is_held_out(source.item) or is_photo(source.item) or painting_of(source.item) in names)
    )


def _item(scene: str, key: str, cell: str, seed: int) -> GenerateItem:
    return GenerateItem(
        key=key,
        prompt=scene,
        seed=seed % 2**31,
        template=cell.partition("-")[0],
        cell=cell,
        labels=labels_in(scene),
    )
