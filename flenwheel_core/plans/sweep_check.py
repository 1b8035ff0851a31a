"""Ranks and blocks to sweep over, held against the model before the first training."""

from dataclasses import dataclass

from flenwheel_core.base.errors import RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.family_options import lora_problems
from flenwheel_core.models.references import ModelRole, resolve_model
from flenwheel_core.models.registry import family_of
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.train import LoraRecipe


@dataclass(frozen=True)
class Sweep:
    """What is tried; empty means the recipe's own."""

    ranks: tuple[int, ...]
    blocks: tuple[tuple[str, ...], ...]
    """Choices of blocks: each is what `train.lora.blocks` would hold."""


def check_sweep(recipe: Recipe, sweep: Sweep, settings: Settings) -> None:
    """Raises RecipeError for blocks that the recipe's base has not; nothing is loaded."""
    folder = resolve_model(recipe.models.base, ModelRole.GENERATOR, settings)
    family = family_of(folder)
    for where in sweep.blocks:
        problems = lora_problems(family, folder, "train", recipe.train.lora.model_copy(update={"blocks": where}))
        if problems:
            raise RecipeError(f"{'+'.join(where)} cannot be swept over.", why=problems[0])


def lora_choice(lora: LoraRecipe) -> str:
    """The lines of a recipe that choose this adapter."""
    quoted = ", ".join(f'"{block}"' for block in lora.blocks)
    return f"[train.lora]\nrank = {lora.rank}\nblocks = [{quoted}]"
