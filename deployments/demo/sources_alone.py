"""What a turn is worth: the same model card of a LoRA that was trained on the source pictures alone, as anybody would begin."""

from pathlib import Path
from typing import Protocol

from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.images.sheets import Tile, contact_sheet
from flenwheel_core.library.characters import Library
from flenwheel_core.library.doubts import trained_on
from flenwheel_core.plans.training_set import training_items
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.stage import BENCHMARK, TRAIN, Request, Result, Stage
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture

ROWS = 4
"""Prompts of the sheet, evenly spread over the card."""
TILE_PX = 192


class Runs(Protocol):
    """Makes the result of a stage."""

    def __call__(self, stage: Stage[Request, Result], request: Request) -> Result: ...


def measure_sources_alone(store: Store, character: str, run: Runs) -> BenchmarkResult:
    """The model card of the last turn, its prompts and seeds, drawn by a LoRA of the real pictures in the pool alone.

    It is trained as the turn's first LoRA was, for the steps that its few pictures ask for; nothing of it enters the pool or is promoted.
    Raises NotFoundError if the last turn has no training or no benchmark.
    """
    library = Library(store)
    turns = library.turns(character)
    place = f"turns/{character}/{turns[-1].number:04d}" if turns else ""
    first = store.get_document(f"{place}/train-v1", TrainRequest) if turns else None
    card = store.get_document(f"{place}/benchmark", BenchmarkRequest) if turns else None
    if first is None or card is None:
        raise NotFoundError(f"No turn of {character} has trained and measured a LoRA.")
    recipe = Recipe.from_bytes(store.get_blob(turns[-1].recipe), where="the turn's recipe")
    real = [entry for entry in trained_on(store, character) if entry.real]
    items = training_items(real, recipe.pool.real_share, bodies_from=recipe.train.bodies_from)
    asked = first.model_copy(
        update={
            "name": f"{character}-sources-alone",
            "items": items,
            "recipe": recipe.train.for_pictures(len(items)),
            "sample_prompts": (),
            "keep_at": (),
            "look_at": (),
        }
    )
    lora = run(TRAIN, asked).lora
    return run(BENCHMARK, card.model_copy(update={"challenger": lora.digest, "champion": None, "bleed_items": ()}))


def write_rows(store: Store, cards: dict[str, tuple[BenchmarkResult, Digest | None]], path: Path) -> None:
    """A sheet with a row a prompt and a column for each LoRA, the same prompt and seed in a row."""
    drawn = {
        name: {record.item: record for record in store.get_images(result.images) if _wears(record, lora)}
        for name, (result, lora) in cards.items()
    }
    shared = [item for item in next(iter(drawn.values())) if all(item in found for found in drawn.values())]
    step = max(1, len(shared) // ROWS)
    tiles = [
        Tile(load_picture(store, drawn[name][item].digest), (name if row == 0 else "", _what(drawn[name][item])))
        for row, item in enumerate(shared[::step][:ROWS])
        for name in cards
    ]
    contact_sheet(tiles, columns=len(cards), tile_px=TILE_PX).save(path)


def _wears(record: ImageRecord, lora: Digest | None) -> bool:
    return lora in {use.digest for use in record.loras}


def _what(record: ImageRecord) -> str:
    labels = record.labels
    return ", ".join(part for part in (labels.angle, labels.expression, labels.pose) if part)
