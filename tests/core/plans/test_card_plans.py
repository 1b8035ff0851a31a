"""How a recipe would use cards of several sizes, from folders with the sizes of the released models and nothing in their files."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.memory.card import CONTEXT_GIB
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.plans.card_plans import card_of, plan_stages
from flenwheel_core.recipes.loading import RECIPES, load_recipe
from flenwheel_core.recipes.model import Recipe
from tests.kit.released_folders import KLEIN_4B, released_folder, write_klein

FLUX = {
    "_class_name": "FluxTransformer2DModel",
    "num_layers": 19,
    "num_single_layers": 38,
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "in_channels": 64,
}
QWEN = {
    "_class_name": "QwenImageTransformer2DModel",
    "num_layers": 60,
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "joint_attention_dim": 3584,
    "in_channels": 64,
    "out_channels": 16,
}


Z_IMAGE = {
    "_class_name": "ZImageTransformer2DModel",
    "in_channels": 16,
    "dim": 3840,
    "n_layers": 30,
    "n_refiner_layers": 2,
    "n_heads": 30,
    "n_kv_heads": 30,
    "cap_feat_dim": 2560,
}

CARDS = {
    "flux_character_24gb": 24,
    "flux_character_40steps": 24,
    "flux_character_16gb": 16,
    "flux_character_12gb": 12,
    "flux_style_24gb": 24,
    "klein_character": 12,
    "klein_edit": 12,
    "kontext_edit": 24,
    "qwen_image_character": 24,
    "zimage_character": 24,
}
"""The smallest card that each shipped recipe of full size is for."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands for each model of the Hub."""
    place = tmp_path_factory.mktemp("released")
    flux_sizes = {"transformer": 23_800_000_000, "text_encoder_2": 9_520_000_000, "vae": 168_000_000}
    base = released_folder(place / "flux", "FluxPipeline", FLUX, flux_sizes)
    editor = released_folder(
        place / "edit",
        "QwenImageEditPlusPipeline",
        QWEN,
        {"transformer": 40_900_000_000, "text_encoder": 16_580_000_000, "vae": 254_000_000},
    )
    sizes = {"transformer": 40_900_000_000, "text_encoder": 16_580_000_000, "vae": 254_000_000}
    z_sizes = {"transformer": 12_310_000_000, "text_encoder": 8_040_000_000, "vae": 168_000_000}
    return {
        "FLUX.1-dev": base,
        "FLUX.1-Kontext-dev": released_folder(place / "kontext", "FluxKontextPipeline", FLUX, flux_sizes),
        "Qwen-Image-Edit-2509": editor,
        "FLUX.2-klein-base-4B": str(write_klein(place / "klein", KLEIN_4B)),
        "Qwen-Image": released_folder(place / "qwen", "QwenImagePipeline", QWEN, sizes),
        "Z-Image": released_folder(place / "z", "ZImagePipeline", Z_IMAGE, z_sizes),
    }


def here(name: str, folders: dict[str, str]) -> Recipe:
    """A shipped recipe whose models are these folders."""
    shipped = load_recipe(name)
    base, editor = (
        folders[reference.partition("@")[0].rpartition("/")[2]]
        for reference in (shipped.models.base, shipped.models.editor)
    )
    return shipped.model_copy(update={"models": shipped.models.model_copy(update={"base": base, "editor": editor})})


@pytest.fixture(scope="module")
def recipe(folders: dict[str, str]) -> Recipe:
    return here("flux_character_24gb", folders)


def test_every_shipped_recipe_says_its_card() -> None:
    assert {path.stem for path in RECIPES.glob("*.toml")} == {*CARDS, "nano", "nano_klein", "nano_style", "nano_zimage"}


@pytest.mark.parametrize(("name", "gib"), CARDS.items())
def test_every_stage_of_a_shipped_recipe_fits_its_card(
    name: str, gib: int, folders: dict[str, str], settings: Settings
) -> None:
    plans = plan_stages(here(name, folders), settings, card_of(settings, gib))
    edits = {"enrich", "edit_train"} if load_recipe(name).style is None else set[str]()
    assert {plan.stage for plan in plans} == {*edits, "train", "generate, benchmark"}
    for plan in plans:
        assert plan.predicted_gib is not None and plan.predicted_gib <= gib - CONTEXT_GIB, plan


def test_a_recipe_for_a_larger_card_is_refused_with_the_stage_and_what_would_help(
    recipe: Recipe, settings: Settings
) -> None:
    plans = {plan.stage: plan for plan in plan_stages(recipe, settings, card_of(settings, 16))}
    assert plans["enrich"].predicted_gib is not None
    assert plans["edit_train"].predicted_gib is None
    assert "editor.train.resolution" in plans["edit_train"].text


def test_a_24_gib_card_has_a_plan_for_every_stage(recipe: Recipe, settings: Settings) -> None:
    plans = {plan.stage: plan for plan in plan_stages(recipe, settings, card_of(settings, 24))}
    assert set(plans) == {"enrich", "edit_train", "train", "generate, benchmark"}
    for plan in plans.values():
        assert plan.predicted_gib is not None and 10 < plan.predicted_gib <= 23.6, plan
    assert "fp8" in plans["train"].text and "blocks recomputed" in plans["train"].text
    assert "nf4 weights" in plans["edit_train"].text and "tiles" in plans["enrich"].text


def test_a_small_card_says_which_stages_do_not_fit_it(recipe: Recipe, settings: Settings) -> None:
    plans = {plan.stage: plan for plan in plan_stages(recipe, settings, card_of(settings, 12))}
    assert plans["train"].predicted_gib is not None and "nf4" in plans["train"].text
    assert plans["enrich"].predicted_gib is None and "does not fit" in plans["enrich"].text


@pytest.mark.parametrize("name", ["flux_character_24gb", "klein_edit", "kontext_edit"])
def test_lessons_that_compare_count_two_pictures(name: str, folders: dict[str, str], settings: Settings) -> None:
    plain = here(name, folders)
    compares = plain.model_copy(update={"editor": plain.editor.model_copy(update={"corrections_teach": "both"})})
    one, two = (
        next(plan for plan in plan_stages(recipe, settings, card_of(settings, 24)) if plan.stage == "edit_train")
        for recipe in (plain, compares)
    )
    assert one.predicted_gib is not None
    assert two.text != one.text, "twice the tokens ask for another way to stay within the card, or do not fit"


@pytest.mark.parametrize(
    "change", [{"storage": "int8"}, {"train": {"batch_size": 2}}, {"train": {"lora": {"dora": True}}}]
)
def test_what_the_fast_transformer_does_not_cover_is_said(
    recipe: Recipe, settings: Settings, change: dict[str, dict[str, object]]
) -> None:
    editor = type(recipe.editor).model_validate({**recipe.editor.model_dump(), "train": {}, **change})
    changed = recipe.model_copy(update={"editor": editor})
    plans = {plan.stage: plan for plan in plan_stages(changed, settings, card_of(settings, 48))}
    assert plans["edit_train"].predicted_gib is None and "not planned ahead" in plans["edit_train"].text
    assert plans["enrich"].predicted_gib is not None


def test_an_older_card_gets_no_fp8(recipe: Recipe, settings: Settings) -> None:
    plans = plan_stages(recipe, settings, CardRoom(23.5, multiplies_fp8=False))
    assert all("fp8" not in plan.text for plan in plans)


def test_a_model_that_is_not_here_is_not_fetched(settings: Settings, tmp_path: Path) -> None:
    elsewhere = settings.model_copy(update={"models": tmp_path / "models"})
    plans = plan_stages(load_recipe("flux_character_24gb"), elsewhere, CardRoom(23.5, multiplies_fp8=True))
    assert all(plan.predicted_gib is None and "is not here yet" in plan.text for plan in plans)


def test_without_a_card_its_size_is_asked_for(settings: Settings) -> None:
    with pytest.raises(ResourceError, match="no card here") as caught:
        card_of(settings, None)
    assert "--card 24" in caught.value.remedy
