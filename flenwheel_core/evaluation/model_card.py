"""The model card as data: 23 cells, each with the same prompts and seeds for every LoRA that is ever measured."""

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.prompts import CARD_CELLS, Cell, GenerateItem
from flenwheel_core.documents.wording import fill
from flenwheel_core.recipes.model import Recipe


def model_card_items(character: CharacterRef, recipe: Recipe) -> tuple[GenerateItem, ...]:
    """What the benchmark draws: each cell with `seeds_per_cell` seeds, in the card's order.

    Nothing here depends on the LoRA or the turn, so champion and challenger always draw the same prompts and seeds.
    """
    return tuple(
        card_item(
            character,
            recipe,
            cell,
            derive_seed(recipe.benchmark.seed, "card", cell.id, number) % 2**31,
            key=f"{cell.id}-{number}",
        )
        for cell in CARD_CELLS
        for number in range(recipe.benchmark.seeds_per_cell)
    )


def card_item(character: CharacterRef, recipe: Recipe, cell: Cell, seed: int, *, key: str) -> GenerateItem:
    """One cell as it is asked for: in the benchmark's background and light, in the words of the training captions."""
    choices = recipe.benchmark
    wanted = cell.labels().model_copy(update={"background": choices.background, "lighting": choices.lighting})
    return GenerateItem(
        key=key,
        prompt=fill(recipe.caption_template, wanted, recipe.phrases, character),
        seed=seed,
        template="card",
        cell=cell.id,
        labels=Labels.model_validate(wanted.model_dump()),
    )
