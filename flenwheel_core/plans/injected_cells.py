"""Pictures of the cells that sources leave open, drawn by injection in a character's first turn: first a trial, then the cells."""

from collections.abc import Sequence

from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.ids import derive_seed
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.engine.job import class_caption
from flenwheel_core.library.characters import Character, PoolEntry
from flenwheel_core.plans.injection import preview_with
from flenwheel_core.plans.pictures import missing_cells
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.inject import InjectionPrompt, InjectRequest
from flenwheel_core.store import Store

TRIAL_SEEDS = (1234, 5678, 9999, 4321)
"""On the first a strength is chosen; on the others it must show that it brings who the photos show."""


def trial(recipe: Recipe, character: Character, store: Store, settings: Settings) -> InjectRequest | str:
    """What shows whether injection brings this character: pictures beside those of another's photos; or why there can be no trial."""
    try:
        asked = preview_with(recipe, character, store, settings, seeds=TRIAL_SEEDS)
    except FlenwheelError as error:
        return error.what
    if not asked.identities[0].held_out:
        return "There are too few photos to keep one back that nothing is made from."
    return asked.model_copy(update={"controls": ("shuffled",), "lora": None, "lora_words": ""})


def cells(
    tried: InjectRequest,
    alpha: float,
    planned: Sequence[GenerateItem],
    pool: Sequence[PoolEntry],
    character: Character,
    recipe: Recipe,
    *,
    turn: int,
) -> InjectRequest | None:
    """One picture of each planned prompt that aims at a cell with too few pictures, in their order, as many as the recipe allows."""
    missing = {cell.id for cell in missing_cells(pool)}
    chosen: dict[str, GenerateItem] = {}
    for item in planned:
        if item.cell in missing:
            chosen.setdefault(item.prompt, item)
    if not chosen:
        return None
    return tried.model_copy(
        update={
            "prompts": tuple(
                InjectionPrompt(
                    text=class_caption(item.prompt, character.trigger, character.class_word),
                    labels=item.labels,
                    cell=item.cell,
                )
                for item in list(chosen.values())[: recipe.enrich.injected]
            ),
            "alphas": (alpha,),
            "seeds": (derive_seed(recipe.enrich.seed, "injected", turn) % 2**31,),
            "controls": (),
            "strangers": (),
            "verifier": None,
            "reader": None,
            "turn": turn,
        }
    )
