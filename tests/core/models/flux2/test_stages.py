"""A whole klein folder goes through the stages: as base and as editor, with the LoRAs that they train.

Training runs in a process of its own.
"""

from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, LoraUse, Sampler
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.recipes.train import TrainingRecipe
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
from tests.kit.tiny_editor import picture

MIRA = CharacterRef(name="mira", trigger="ohwx", class_word="cat", kind="subject")
SAMPLER = Sampler(steps=2, guidance=1.0, true_cfg=2.0, width=64, height=64)
RECIPE = TrainingRecipe.model_validate(
    {
        "steps": 2,
        "resolution": 64,
        "text_tokens": 64,
        "min_images": 1,
        "warmup_steps": 0,
        "learning_rate": 1e-2,
        "lora": {"rank": 2},
        "prior": {"method": "off"},
        "sampling": {"every_steps": 0},
    }
)


def kept(store: Store, seed: int, item: str) -> ImageRecord:
    record = ImageRecord(
        digest="0" * 64, width=64, height=64, kind=ImageKind.SOURCE, stage="ingest", request="1" * 64, item=item
    )
    return save_picture(store, picture(64, 64, seed), record)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_klein_is_the_base(settings: Settings, klein_folder: Path) -> None:
    store, said = Store(settings.store_url), []
    item = TrainItem(image=kept(store, 1, "a.png").digest, caption="photo of ohwx cat", real=True)
    base = str(klein_folder)
    asked = TrainRequest(
        name="mira-v1", character=MIRA, base=base, items=(item,), recipe=RECIPE, seed=1, sampler=SAMPLER
    )
    lora = run_in_child(TRAIN, asked, settings, said.append).lora
    draw = GenerateItem(key="one", prompt="photo of ohwx cat", seed=3)
    loras = (LoraUse(digest=lora.digest, weight=1.0),)
    request = GenerateRequest(character=MIRA, base=base, items=(draw,), sampler=SAMPLER, turn=1, loras=loras)
    (made,) = store.get_images(run_here(GENERATE, request, settings, said.append).images)
    assert (made.width, made.height, made.loras) == (64, 64, loras)
    export = ExportRequest(character=MIRA, lora=lora, sources="c" * 64, pool=store.put_images([]), turn=1)
    files = {file.name: file.digest for file in run_here(EXPORT, export, settings, said.append).files}
    assert "mira-v1.comfyui.safetensors" in files
    card = store.get_blob(files["README.md"]).decode()
    assert "- flux2" in card and "in comfyui's layout" in card


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_klein_is_the_editor(settings: Settings, klein_folder: Path) -> None:
    store, said = Store(settings.store_url), []
    source, target = kept(store, 1, "a.png"), kept(store, 2, "b.png")
    lesson = Triplet(
        source=source.digest,
        prompt="make it blue",
        target=target.digest,
        kind="approved",
        character="mira",
        turn=1,
        gate="g",
        author="me",
        references=(kept(store, 3, "c.png").digest,),
    )
    editor = str(klein_folder)
    asked = EditTrainRequest(
        name="editor-1", triplets=put_triplets(store, [lesson]), editor=editor, recipe=RECIPE, seed=1
    )
    lora = run_in_child(EDIT_TRAIN, asked, settings, said.append).lora
    edit = EditItem(key="one", source=source.digest, references=(target.digest,), prompt="make it blue", seed=3)
    request = EnrichRequest(
        character=MIRA,
        sources=store.put_images([source, target]),
        items=(edit,),
        editor=editor,
        sampler=SAMPLER,
        turn=1,
        loras=(LoraUse(digest=lora.digest, weight=1.0),),
    )
    (made,) = store.get_images(run_here(ENRICH, request, settings, said.append).images)
    assert made.parents == (source.digest, target.digest) and (made.width, made.height) == (64, 64)
