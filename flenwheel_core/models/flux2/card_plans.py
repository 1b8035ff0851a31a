"""What drawing, editing and training would do with a card, from sizes on the disk alone.

memory.py says how it is counted, and how near that was.
"""

from pathlib import Path

from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.memory.drawing import Largest
from flenwheel_core.models.card_plan import UNPLANNED, CardRoom, StagePlan, planned
from flenwheel_core.models.flux2.adapter import can_be_fast, storage_wanted
from flenwheel_core.models.flux2.geometry import PIXELS_PER_TOKEN, TEXT_TOKENS
from flenwheel_core.models.flux2.lora_host import linear_shapes_of
from flenwheel_core.models.flux2.memory import (
    adapter_weights_of,
    drawing_memory,
    training_memory,
)
from flenwheel_core.models.flux2.names import TARGETS
from flenwheel_core.models.model_folder import drawn_after_encoders
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.shell import transformer_config


def card_plans(folder: Path, recipe: Recipe, use: str, card: CardRoom) -> list[StagePlan]:
    """For square pictures of the recipe's size, edits and lessons with the recipe's references.

    `use` says whether the model is asked as base or as editor.
    """
    edits = use == "editor"
    asked = recipe.editor.train if edits else recipe.train
    sampler = recipe.enrich.sampler if edits else recipe.generate.sampler
    pictures = 1 + recipe.enrich.references if edits else 1
    config = transformer_config(folder)
    ranks = lora_ranks(linear_shapes_of(config), asked.lora, TARGETS)

    def draw() -> tuple[str, float]:
        pixels = sampler.width * sampler.height
        tokens = pictures * pixels // PIXELS_PER_TOKEN**2 + TEXT_TOKENS
        worn = adapter_weights_of(config, ranks)
        wanted = recipe.editor.storage if edits else None
        plan = drawing_memory(folder, config, Largest(tokens, pixels, worn), card, wanted=wanted)
        return drawn_after_encoders(folder, plan.describe(), plan.predicted_gib, card.usable_gib)

    def train() -> tuple[str, float]:
        plan, line = training_memory(
            config,
            ranks,
            card,
            tokens=(2 if edits and recipe.editor.compares else 1) * step_tokens(asked, pictures),
            optimizer=asked.optimizer,
            wanted=storage_wanted(asked, recipe.editor.storage if edits else None),
        )
        return line, plan.predicted_gib

    drawing, training = ("enrich", "edit_train") if edits else ("generate, benchmark", "train")
    learns = planned(training, train) if can_be_fast(ranks, asked.lora) else StagePlan(training, UNPLANNED, None)
    return [planned(drawing, draw), learns] if edits else [learns, planned(drawing, draw)]


def step_tokens(recipe: TrainingRecipe, pictures: int) -> int:
    """Tokens of a training step with so many pictures an item, of the recipe's size, and text."""
    return recipe.batch_size * (pictures * (recipe.resolution // PIXELS_PER_TOKEN) ** 2 + recipe.text_tokens)
