"""A recipe is called usable only if its models and LoRA files can be: looked at, not fetched."""

from pathlib import Path

import pytest
import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models import embedded
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.plans.recipe_check import recipe_notes, recipe_problems, require_edit_choices
from flenwheel_core.recipes.loading import list_recipes, load_recipe
from flenwheel_core.recipes.model import EditorLora, Recipe
from flenwheel_core.recipes.train import LoraRecipe


def recipe(**models: str) -> Recipe:
    known = load_recipe("nano")
    return known.model_copy(update={"models": known.models.model_copy(update=models)})


@pytest.mark.usefixtures("siblings")
@pytest.mark.parametrize("name", sorted(list_recipes()))
def test_shipped_recipes_are_usable(settings: Settings, name: str) -> None:
    assert recipe_problems(load_recipe(name), settings) == []


def test_a_recipe_whose_models_did_not_come_along_is_told_so(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SHIPPED", tmp_path)
    problems = recipe_problems(load_recipe("nano_klein"), settings)
    assert any("holds no weights of the nano model klein" in problem for problem in problems)


def test_what_will_be_pinned_and_how_large_the_file_is_are_said(settings: Settings) -> None:
    assert recipe_notes(load_recipe("nano"), settings) == ["The LoRA's file will hold 0.64 million numbers, 2.6 MB."]
    assert "FLUX.1-dev@main" in recipe_notes(load_recipe("flux_character_24gb"), settings)[0]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"base": ""}, "models.base: '' names no model"),
        ({"base": " nano"}, "models.base: ' nano' names no model"),
        ({"base": "/"}, "is not a model folder"),
        ({"base": "/dev"}, "is not a model folder"),
        ({"base": "/nowhere"}, "There is no model folder /nowhere"),
        ({"base": "black-forest-labs/FLUX.1-dev"}, "write black-forest-labs/FLUX.1-dev@main: it is pinned"),
        ({"editor": str(weights_folder("flux"))}, "cannot be used as an image editor. it holds a FluxPipeline"),
        ({"base": str(weights_folder("vlm"))}, "cannot be used as an image generator"),
        ({"base": "nano@000000000000"}, "is not the one in"),
        ({"editor": "face"}, "models.editor: face looks at faces only"),
        ({"verifier": "face:Nobody"}, "there is no face:Nobody; known are face and face:ArcFace"),
        ({"reader": "face:ArcFace"}, "there is no face:ArcFace; known are face"),
    ],
)
def test_models_that_cannot_be_used_are_named(settings: Settings, models: dict[str, str], said: str) -> None:
    (problem,) = recipe_problems(recipe(**models), settings)
    assert said in problem


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        (
            LoraRecipe(blocks=("single:2-9",)),
            "train.lora: The block range 'single:2-9' does not exist. This model has single blocks 0 to 7",
        ),
        (
            LoraRecipe(blocks=("late",)),
            "presets all, double, single, double_early, double_late, single_early, single_late",
        ),
        (LoraRecipe(block_ranks={"double:7": 4}), "double blocks 0 to 1"),
    ],
)
def test_blocks_that_the_base_has_not_are_named(settings: Settings, lora: LoraRecipe, said: str) -> None:
    known = load_recipe("nano")
    (problem,) = recipe_problems(
        known.model_copy(update={"train": known.train.model_copy(update={"lora": lora})}), settings
    )
    assert said in problem


def with_lora(file: str) -> Recipe:
    known = load_recipe("nano")
    return known.model_copy(update={"enrich": known.enrich.model_copy(update={"loras": (EditorLora(file=file),)})})


def test_lora_files_are_looked_at(settings: Settings, tmp_path: Path) -> None:
    assert "no .safetensors file /nowhere" in recipe_problems(with_lora("/nowhere/x.safetensors"), settings)[0]
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nothing")
    assert "no safetensors file" in recipe_problems(with_lora(str(path)), settings)[0]
    tensors = {"a.lora_A.weight": torch.ones(1, 2), "a.lora_B.weight": torch.ones(2, 1)}
    path.write_bytes(tensor_bytes(tensors, {"modelspec.architecture": "flux-1-dev/lora"}))
    assert "it is for FLUX.1, not for the editor" in recipe_problems(with_lora(str(path)), settings)[0]
    path.write_bytes(tensor_bytes(tensors))
    assert recipe_problems(with_lora(str(path)), settings) == []


@pytest.mark.parametrize(
    ("architecture", "fits"), [("flux-2-klein/lora", True), ("qwen-image/lora", False), ("flux-1-dev/lora", False)]
)
def test_a_lora_is_held_against_the_family_that_the_editor_is(
    architecture: str, fits: bool, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "x.safetensors"
    tensors = {"a.lora_A.weight": torch.ones(1, 2), "a.lora_B.weight": torch.ones(2, 1)}
    path.write_bytes(tensor_bytes(tensors, {"modelspec.architecture": architecture}))
    known = load_recipe("klein_edit")  # its editor is known by name, and not here
    enrich = known.enrich.model_copy(update={"loras": (EditorLora(file=str(path)),)})
    problems = [one for one in recipe_problems(known.model_copy(update={"enrich": enrich}), settings) if "loras" in one]
    assert (problems == []) is fits and all("not for the editor, which is FLUX.2" in one for one in problems)


def test_more_references_than_the_editor_takes_are_named(settings: Settings) -> None:
    known = load_recipe("nano")
    two = known.model_copy(update={"enrich": known.enrich.model_copy(update={"references": 2})})
    assert recipe_problems(two, settings) == ["enrich.references: 2 pictures an edit, and nano takes 1"]


def test_what_an_editor_reads_is_not_asked_of_a_model_that_no_family_knows(settings: Settings, tmp_path: Path) -> None:
    """A stage of one's own may read it; the stages refuse what they cannot open."""
    (tmp_path / "model_index.json").write_text("{}")
    require_edit_choices(recipe(editor=str(tmp_path)), settings)
