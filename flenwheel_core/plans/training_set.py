"""What a LoRA is trained on: the pool with its captions and weights, and the prompts of its sample pictures. Pure and deterministic."""

from collections.abc import Sequence

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageRecord, Labels
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.documents.wording import fill
from flenwheel_core.library.characters import PoolEntry
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.train import TrainItem


def made_caption(labels: Labels, character: CharacterRef, recipe: Recipe) -> str:
    """The training caption of an enriched or synthetic image."""
    return fill(recipe.caption_template, labels, recipe.phrases, character)


def training_items(pool: Sequence[PoolEntry], real_share: float, *, bodies_from: float = 0.0) -> tuple[TrainItem, ...]:
    """The whole pool, with sampling weights that keep the real sources' share at or above `real_share`.

    Pictures of whole bodies begin after the share `bodies_from` of the training; if there are no others, at once.
    """
    if all(is_body(entry.image) for entry in pool):
        bodies_from = 0.0
    real = sum(entry.real for entry in pool)
    made = len(pool) - real
    weight = 1.0
    if real and made and real / len(pool) < real_share:
        weight = real_share * made / ((1 - real_share) * real) if real_share < 1 else 1e6
    return tuple(
        TrainItem(
            image=entry.image.digest,
            caption=entry.caption,
            real=entry.real,
            weight=weight if entry.real else 1.0,
            mask=entry.image.mask,
            begins=bodies_from if is_body(entry.image) else 0.0,
        )
        for entry in pool
    )


def is_body(image: ImageRecord) -> bool:
    """True if the picture shows more than head and shoulders, as far as is known."""
    return image.labels.pose not in (None, "portrait")


def sample_prompts(character: CharacterRef, recipe: Recipe, number: int = 4) -> tuple[str, ...]:
    """Prompts for the sample grids while training: spread over the card's cells, always the same."""
    chosen = [CARD_CELLS[index * len(CARD_CELLS) // number] for index in range(number)]
    return tuple(fill(recipe.caption_template, cell.labels(), recipe.phrases, character) for cell in chosen)
