"""Model references name bytes: a changed file gives another pin, and an old pin refuses new files."""

from pathlib import Path

import pytest

from flenwheel_core.errors import MissingWeightsError, RecipeError
from flenwheel_core.families.references import ModelRole, pin_model, resolve_model
from flenwheel_core.settings import Settings


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"models": tmp_path / "models"})


def test_nano_is_pinned_by_its_files(settings: Settings) -> None:
    pinned = pin_model("nano", ModelRole.GENERATOR, settings)
    assert pinned.startswith("nano@") and pin_model(pinned, ModelRole.GENERATOR, settings) == pinned
    assert (resolve_model(pinned, ModelRole.GENERATOR, settings) / "model_index.json").is_file()


def test_a_changed_folder_is_not_the_pinned_one(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    pinned = pin_model(str(folder), ModelRole.GENERATOR, settings)
    assert resolve_model(pinned, ModelRole.GENERATOR, settings) == folder
    (folder / "config.json").write_text('{"hidden": 1}')
    with pytest.raises(MissingWeightsError, match="were replaced"):
        resolve_model(pinned, ModelRole.GENERATOR, settings)


def test_hub_model_without_revision_is_refused(settings: Settings) -> None:
    with pytest.raises(RecipeError, match="names no revision"):
        resolve_model("black-forest-labs/FLUX.1-dev", ModelRole.GENERATOR, settings)


@pytest.mark.parametrize("reference", ["./nowhere", "/nowhere", "nanoo", "../../etc"])
def test_missing_folder_is_a_clear_error(settings: Settings, reference: str) -> None:
    with pytest.raises(MissingWeightsError, match="no model folder"):
        resolve_model(reference, ModelRole.GENERATOR, settings)
