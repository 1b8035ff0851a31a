"""The model card as data: 23 cells, each with the same prompts and seeds for every LoRA that is ever measured."""

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.prompts import CARD_CELLS, GenerateItem
from flenwheel_core.documents.wording import fill
from flenwheel_core.recipes.model import Recipe


def model_card_items(character: CharacterRef, recipe: Recipe) -> tuple[GenerateItem, ...]:
    """What the benchmark draws: each cell with `seeds_per_cell` seeds, in the card's order.

    Nothing here depends on the LoRA or the turn, so champion and challenger always draw the same prompts and seeds.
    """
    choices = recipe.benchmark
    items = []
    for cell in CARD_CELLS:
        wanted = cell.labels().model_copy(update={"background": choices.background, "lighting": choices.lighting})
        prompt = fill(recipe.caption_template, wanted, recipe.phrases, character)
        items += [
            GenerateItem(
                key=f"{cell.id}-{number}",
                prompt=prompt,
                seed=derive_seed(choices.seed, "card", cell.id, number) % 2**31,
                template="card",
                cell=cell.id,
                labels=Labels.model_validate(wanted.model_dump()),
            )
            for number in range(choices.seeds_per_cell)
        ]
    return tuple(items)
