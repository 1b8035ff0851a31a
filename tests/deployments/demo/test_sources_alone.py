"""A LoRA of the source pictures alone is trained and measured as the turn's own was, and nothing of it is kept."""

from pathlib import Path

import pytest
from PIL import Image

from deployments.demo.sources_alone import measure_sources_alone, write_rows
from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels, LoraUse
from flenwheel_core.library.characters import Library, PoolEntry
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png
from tests.kit.gate_world import open_gate
from tests.kit.turn_world import fill_turn

TURN = "turns/mira/0001"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


def asked_of(store: Store) -> tuple[TrainRequest, BenchmarkRequest]:
    train, card = (
        store.get_document(f"{TURN}/train", TrainRequest),
        store.get_document(f"{TURN}/benchmark", BenchmarkRequest),
    )
    assert train is not None and card is not None
    return train, card


def test_only_sources_are_trained_on_and_the_card_is_the_turns(store: Store) -> None:
    recipe = load_recipe("nano")
    images = store.get_images(open_gate(store, 5, side=16).images)
    entries = [
        PoolEntry(image=image, caption="a photo", real=n < 3, turn=1, gate=None) for n, image in enumerate(images)
    ]
    Library(store).add_to_pool("mira", entries)
    fill_turn(store, images, recipe=recipe.to_bytes())
    train, card = asked_of(store)
    store.put_document(f"{TURN}/train-v1", train.model_copy(update={"sample_prompts": ("a",)}))
    pool, champion = Library(store).pool("mira"), Library(store).champion("mira")
    asked: list[StageRequest] = []

    def run(stage: object, request: StageRequest) -> StageResult | None:
        """What the turn's own training and benchmark gave."""
        asked.append(request)
        trains = isinstance(request, TrainRequest)
        return store.get_result(train, TrainResult) if trains else store.get_result(card, BenchmarkResult)

    measured = measure_sources_alone(store, "mira", run)  # type: ignore[arg-type]
    trained, drawn = asked
    assert isinstance(trained, TrainRequest) and isinstance(drawn, BenchmarkRequest)
    assert {item.image for item in trained.items} == {entry.image.digest for entry in pool if entry.real}
    assert trained.recipe == recipe.train.for_pictures(len(trained.items)) and trained.sample_prompts == ()
    lora = store.get_result(train, TrainResult)
    assert lora is not None
    assert drawn == card.model_copy(update={"challenger": lora.lora.digest, "champion": None})
    assert measured == store.get_result(card, BenchmarkResult)
    assert Library(store).pool("mira") == pool and Library(store).champion("mira") == champion


def test_without_a_measured_turn_there_is_nothing_to_hold_it_against(store: Store) -> None:
    open_gate(store, 1, side=16)
    with pytest.raises(NotFoundError, match="No turn of mira has trained and measured"):
        measure_sources_alone(store, "mira", None)  # type: ignore[arg-type]


def test_a_row_of_the_sheet_is_one_prompt(store: Store, tmp_path: Path) -> None:
    fill_turn(store, store.get_images(open_gate(store, 1, side=16).images))
    found = store.get_result(asked_of(store)[1], BenchmarkResult)
    assert found is not None
    colours = {"a": "red", "b": "blue"}

    def drawn(lora: str, item: int) -> ImageRecord:
        picture = Image.new("RGB", (8, 8), colours[lora] if item else "green")
        return ImageRecord(
            digest=store.put_blob(encode_png(picture, {})), width=8, height=8, kind=ImageKind.SYNTHETIC, stage="benchmark",
            request="0" * 64, item=f"cell-{item}", seed=item, labels=Labels(angle="front"), loras=(LoraUse(digest=lora * 64),),
        )  # fmt: skip

    # Both LoRAs' pictures are in one set, as a benchmark of champion and challenger leaves them.
    both = found.model_copy(
        update={"images": store.put_images([drawn(lora, item) for lora in "ab" for item in range(8)])}
    )
    write_rows(store, {"first": (both, "a" * 64), "second": (both, "b" * 64)}, tmp_path / "rows.png")
    with Image.open(tmp_path / "rows.png") as sheet:
        height = sheet.height // 4
        rows = [[sheet.getpixel((x, y * height + 100)) for x in (100, 300)] for y in range(4)]
    assert rows[0] == [(0, 128, 0), (0, 128, 0)], "item 0 in the first row"
    assert rows[1:] == [[(255, 0, 0), (0, 0, 255)]] * 3
