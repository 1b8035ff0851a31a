"""A family outside of the package trains, draws and edits by the stages themselves, from a folder on disk.

It is found in a process of its own too, by the setting that names its module; one training shows that.
"""

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, LoraUse, Sampler
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.requests.edit_train import EditTrainRequest
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.export import ExportRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.train import TrainItem, TrainRequest
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import EDIT_TRAIN, ENRICH, EXPORT, GENERATE, TRAIN
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture
from flenwheel_core.store.triplets import put_triplets
from tests.kit.run_here import run_here
from tests.kit.toy_family import ToyTransformer

MIRA = CharacterRef(name="mira", trigger="ohwx", class_word="cat", kind="subject")
SAMPLER = Sampler(width=64, height=64, steps=4, guidance=1.0)
RECIPE = TrainingRecipe(steps=150, learning_rate=1e-2, lora=LoraRecipe(rank=8), min_images=1, warmup_steps=0)


@pytest.fixture
def settings(tmp_path: Path, settings: Settings) -> Settings:
    return settings.model_copy(update={"stage_modules": ("tests.kit.toy_family",)})


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A model folder as diffusers lays it out."""
    torch.manual_seed(0)
    ToyTransformer().save_pretrained(tmp_path / "toy" / "transformer")
    index = {"_class_name": "ToyPipeline", "transformer": ["tests.kit.toy_family", "ToyTransformer"]}
    (tmp_path / "toy" / "model_index.json").write_text(json.dumps(index))
    return str(tmp_path / "toy")


def kept(store: Store, colour: str, item: str) -> ImageRecord:
    record = ImageRecord(
        digest="0" * 64, width=64, height=64, kind=ImageKind.SOURCE, stage="ingest", request="1" * 64, item=item
    )
    return save_picture(store, Image.new("RGB", (64, 64), colour), record)


def mean(store: Store, digest: str) -> tuple[float, ...]:
    pixels = Image.open(io.BytesIO(store.get_blob(digest))).convert("RGB").resize((1, 1), Image.Resampling.BOX)
    return tuple(float(value) for value in pixels.getpixel((0, 0)))  # type: ignore[union-attr]


@pytest.mark.slow
def test_it_trains_and_draws(settings: Settings, folder: str) -> None:
    store, said = Store(settings.store_url), []
    red = kept(store, "red", "a.png")
    item = TrainItem(image=red.digest, caption="photo of ohwx cat", real=True, mask=red.digest)
    asked = TrainRequest(
        name="mira-v1", character=MIRA, base=folder, items=(item,), recipe=RECIPE, seed=1, sampler=SAMPLER
    )
    lora = run_in_child(TRAIN, asked, settings, said.append).lora
    assert "1 pictures have masks, which Toy does not read: they are learned whole" in [event.text for event in said]
    draw = GenerateItem(key="one", prompt="photo of ohwx cat", seed=3)
    plain = GenerateRequest(character=MIRA, base=folder, items=(draw,), sampler=SAMPLER, turn=1)
    worn = plain.model_copy(update={"loras": (LoraUse(digest=lora.digest, weight=1.0),)})
    drawn = [
        store.get_images(run_here(GENERATE, request, settings, said.append).images)[0] for request in (plain, worn)
    ]
    without, with_lora = (mean(store, record.digest) for record in drawn)
    assert with_lora[0] > 200 and max(with_lora[1:]) < 60, "what it learned is drawn"
    assert max(abs(a - b) for a, b in zip(without, with_lora, strict=True)) > 40
    export = ExportRequest(character=MIRA, lora=lora, sources="c" * 64, pool=store.put_images([]), turn=1)
    files = {file.name: file.digest for file in run_here(EXPORT, export, settings, said.append).files}
    assert set(files) == {"mira-v1.safetensors", "mira-v1.json", "README.md", "provenance.json"}
    assert "- toy" in store.get_blob(files["README.md"]).decode()


@pytest.mark.slow
def test_it_edits_and_its_editor_learns(settings: Settings, folder: str) -> None:
    store, said = Store(settings.store_url), []
    red, blue = kept(store, "red", "a.png"), kept(store, "blue", "b.png")
    lesson = Triplet(
        source=red.digest,
        prompt="make it blue",
        target=blue.digest,
        kind="approved",
        character="mira",
        turn=1,
        gate="g",
        author="me",
    )
    asked = EditTrainRequest(
        name="editor-1", triplets=put_triplets(store, [lesson]), editor=folder, recipe=RECIPE, seed=1
    )
    lora = run_here(EDIT_TRAIN, asked, settings, said.append).lora
    edit = EditItem(key="one", source=red.digest, prompt="make it blue", seed=3)
    request = EnrichRequest(
        character=MIRA,
        sources=store.put_images([red]),
        items=(edit,),
        editor=folder,
        sampler=SAMPLER,
        turn=1,
        loras=(LoraUse(digest=lora.digest, weight=1.0),),
    )
    (made,) = store.get_images(run_here(ENRICH, request, settings, said.append).images)
    shown = mean(store, made.digest)
    assert shown[2] > 200 and max(shown[:2]) < 60
    assert made.parents == (red.digest,)


def test_a_range_of_blocks_that_it_does_not_have_is_refused(settings: Settings, folder: str) -> None:
    recipe = RECIPE.model_copy(update={"lora": LoraRecipe(rank=8, blocks=("double:0",))})
    store = Store(settings.store_url)
    item = TrainItem(image=kept(store, "red", "a.png").digest, caption="photo of ohwx cat", real=True)
    asked = TrainRequest(name="x", character=MIRA, base=folder, items=(item,), recipe=recipe, seed=1, sampler=SAMPLER)
    with pytest.raises(FlenwheelError, match=r"is no block range of this model") as caught:
        run_here(TRAIN, asked, settings, lambda event: None)
    assert "blocks of the kind block" in str(caught.value.why) and "block_late" in str(caught.value.remedy)
