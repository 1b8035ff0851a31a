"""The folders of a rehearsal are those that the recipe names; nothing is made that is there."""

from pathlib import Path

import pytest
from safetensors import safe_open

from benchmarks.speed.rehearsal_folders import random_lora
from benchmarks.speed.rehearsal_models import ModelFolders, Places, case_ending, kind_of, make_folders
from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_reading import read_loras
from flenwheel_core.base.errors import RecipeError
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.flux1.lora_host import flux_host
from flenwheel_core.recipes.loading import load_recipe

ALL = ("ingest", "enrich", "train", "edit_train")


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "done").touch()
    return folder


def test_a_flux_recipe_may_have_klein_as_its_editor(tmp_path: Path) -> None:
    base = made(tmp_path / "work" / "flux1-dev")
    editor = made(tmp_path / "disk" / "flux2-klein-base-4b")
    captioner = made(tmp_path / "work" / "qwen2.5-vl-7b")
    places = Places(tmp_path / "work", tmp_path / "disk")
    found = make_folders(load_recipe("flux_character_12gb"), ALL, places)
    assert found == ModelFolders(base, editor, captioner)
    klein = made(tmp_path / "klein" / "flux2-klein-base-4b")
    made(tmp_path / "klein" / "qwen2.5-vl-7b")
    alone = make_folders(load_recipe("klein_character"), ALL, Places(tmp_path / "klein", tmp_path / "klein"))
    assert alone.base == alone.editor == klein


@pytest.mark.parametrize(("recipe", "name"), [("zimage_character", "z-image"), ("qwen_image_character", "qwen-image")])
def test_bases_of_other_families_are_edited_by_qwen_image_edit(recipe: str, name: str, tmp_path: Path) -> None:
    base = made(tmp_path / name)
    for other in ("qwen-image-edit-2509", "qwen2.5-vl-7b"):
        made(tmp_path / other)
    (tmp_path / "few-step.safetensors").touch()
    found = make_folders(load_recipe(recipe), ALL, Places(tmp_path, tmp_path))
    assert found.base == base and found.editor.name == "qwen-image-edit-2509"


def test_qwen_image_edit_has_a_lora_for_few_steps(tmp_path: Path) -> None:
    for name in ("flux1-dev", "qwen-image-edit-2509", "qwen2.5-vl-7b"):
        made(tmp_path / name)
    (tmp_path / "few-step.safetensors").touch()
    found = make_folders(load_recipe("flux_character_16gb"), ALL, Places(tmp_path, tmp_path))
    assert found.few_step == tmp_path / "few-step.safetensors" and found.editor.name == "qwen-image-edit-2509"


def test_stages_of_one_model_need_no_other(tmp_path: Path) -> None:
    made(tmp_path / "flux1-dev")
    make_folders(load_recipe("flux_character_24gb"), ["generate"], Places(tmp_path, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flux1-dev"]


def test_a_model_without_an_imitation_is_refused() -> None:
    assert kind_of("black-forest-labs/FLUX.1-Kontext-dev@main") == "kontext"
    assert kind_of("Qwen/Qwen-Image-Edit-2509@main") == "qwen_edit" and kind_of("Qwen/Qwen-Image@main") == "qwen_image"
    with pytest.raises(RecipeError, match="no folder like someone/else"):
        kind_of("someone/else@main")


def test_rows_of_the_flux_recipes_are_named_by_the_card_alone() -> None:
    endings = {
        name: case_ending(load_recipe(name), edit_2511=False)
        for name in ("flux_character_24gb", "flux_character_12gb", "klein_character", "kontext_edit", "klein_edit")
    }
    assert list(endings.values()) == ["", "", "_klein", "_kontext", "_klein_edit"]
    assert case_ending(load_recipe("flux_character_24gb"), edit_2511=True) == "_2511"


def test_a_random_lora_is_one_that_the_model_wears_on_attention_and_mlp_of_all_blocks(tmp_path: Path) -> None:
    flux = weights_folder("flux")
    path = random_lora(tmp_path / "lora.safetensors", flux, 3)
    (worn,) = read_loras([LoraFile(path, 1.0)], flux_host(flux))
    wanted = {name for name in flux_host(flux).linears if "transformer_blocks" in name and "norm" not in name}
    assert wanted and set(worn.modules) == wanted
    written = path.stat().st_mtime_ns
    assert random_lora(path, flux, 3).stat().st_mtime_ns == written
    with safe_open(path, framework="pt") as opened:
        assert {min(opened.get_slice(key).get_shape()) for key in opened.keys()} == {3}  # noqa: SIM118 - no mapping
