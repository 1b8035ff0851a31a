"""One klein draws and edits in turn with different LoRAs on the same weights, loaded once: every picture is as from a model of its own."""

from pathlib import Path

import pytest

from flenwheel_core.adapters.lora_file import LoraFile, lora_bytes
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.flux2.artist import open_artist
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.protocols import EditJob, GenerateJob, ModelSetup
from flenwheel_core.models.shelf import Shelf
from flenwheel_core.recipes.train import LoraRecipe
from tests.kit.tiny_editor import picture
from tests.kit.tiny_klein import trained

SAMPLER = Sampler(steps=2, guidance=1.0, true_cfg=2.0, width=64, height=64)
DRAW = GenerateJob("draw", "photo of ohwx cat", 1, SAMPLER)
EDIT = EditJob("edit", "make it blue", 2, SAMPLER, (picture(64, 64, 1), picture(64, 64, 2)))


def made(folder: Path, settings: Settings, loras: tuple[LoraFile, ...], shelf: Shelf | None, kind: str) -> bytes:
    with open_artist(folder, "tiny", settings, ModelSetup(loras=loras, shelf=shelf)) as artist:
        (one,) = artist.generate([DRAW]) if kind == "draw" else artist.edit([EDIT])
    return one.image.tobytes()


def test_both_wheels_take_turns_on_one_transformer(
    klein_folder: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    for number, recipe in enumerate((LoraRecipe(rank=4), LoraRecipe(rank=2, targets=("mlp",)))):
        adapted = trained(recipe)
        (tmp_path / f"{number}.safetensors").write_bytes(lora_bytes(adapted.parameters, adapted, {}))
        files.append(LoraFile(tmp_path / f"{number}.safetensors", 1.0))
    character, editor = files
    order = (("edit", (editor,)), ("draw", (character,)), ("draw", ()), ("edit", (editor, character)), ("edit", ()))
    alone = [made(klein_folder, settings, loras, None, kind) for kind, loras in order]
    loaded, load = [], Flux2Model.load_transformer
    monkeypatch.setattr(Flux2Model, "load_transformer", lambda model: (loaded.append(model), load(model))[1])
    shelf = Shelf()
    assert [made(klein_folder, settings, loras, shelf, kind) for kind, loras in order] == alone
    assert len(loaded) == 1 and len(set(alone)) == 5


def test_what_stands_on_the_shelf_leaves_before_an_encoder_is_loaded(
    klein_folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, seen, opened = Shelf(), [], Flux2Model.text_encoder
    made(klein_folder, settings, (), shelf, "draw")

    def looked_at(model: Flux2Model, *arguments: object) -> object:
        seen.append(shelf.is_empty)
        return opened(model, *arguments)

    monkeypatch.setattr(Flux2Model, "text_encoder", looked_at)
    assert not shelf.is_empty
    made(klein_folder, settings, (), shelf, "draw")
    assert seen == [], "its prompts are known"
    with open_artist(klein_folder, "tiny", settings, ModelSetup(shelf=shelf)) as artist:
        list(artist.generate([GenerateJob("new", "a new prompt", 1, SAMPLER)]))
    assert seen == [True]
