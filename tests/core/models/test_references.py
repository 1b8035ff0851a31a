"""Model references name bytes: a changed file gives another pin, and an old pin refuses new files."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import FlenwheelError, MissingWeightsError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.digests import all_files_digest
from flenwheel_core.models.references import ModelRole, pin_model, resolve_model
from flenwheel_core.models.registry import require_kind


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"models": tmp_path / "models"})


def model_folder(place: Path) -> Path:
    folder = place / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(tensor_bytes({}))
    return folder


def test_nano_is_pinned_by_its_files(settings: Settings) -> None:
    pinned = pin_model("nano", ModelRole.GENERATOR, settings)
    assert pinned.startswith("nano@") and pin_model(pinned, ModelRole.GENERATOR, settings) == pinned
    assert (resolve_model(pinned, ModelRole.GENERATOR, settings) / "model_index.json").is_file()


def test_nano_is_unpacked_into_the_folder_of_the_settings_at_hand(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path / "workspace", models=tmp_path / "mine", gpu="cpu")
    assert resolve_model("nano", ModelRole.GENERATOR, settings).is_relative_to(tmp_path / "mine")


@pytest.mark.usefixtures("siblings")
def test_siblings_are_pinned_by_what_they_are_unpacked_to(settings: Settings) -> None:
    base, editor = (pin_model("nano_klein", role, settings) for role in (ModelRole.GENERATOR, ModelRole.EDITOR))
    assert base == editor and base.startswith("nano_klein@")
    assert (resolve_model(base, ModelRole.EDITOR, settings) / "model_index.json").is_file()
    other = pin_model("nano_zimage", ModelRole.GENERATOR, settings)
    with pytest.raises(MissingWeightsError, match="is not the one in"):
        resolve_model(other.replace("nano_zimage", "nano_klein"), ModelRole.GENERATOR, settings)


@pytest.mark.parametrize(
    ("reference", "role", "said"),
    [
        ("nano_klein", ModelRole.CAPTIONER, "nano_klein cannot be used as captioner"),
        ("nano_zimage", ModelRole.EDITOR, "nano_zimage cannot be used as editor"),
    ],
)
def test_a_sibling_is_only_what_it_was_made_for(settings: Settings, reference: str, role: ModelRole, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        pin_model(reference, role, settings)


def test_a_changed_folder_is_not_the_pinned_one(settings: Settings, tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    pinned = pin_model(str(folder), ModelRole.GENERATOR, settings)
    assert resolve_model(pinned, ModelRole.GENERATOR, settings) == folder
    (folder / "config.json").write_text('{"hidden": 1}')
    with pytest.raises(MissingWeightsError, match="were replaced"):
        resolve_model(pinned, ModelRole.GENERATOR, settings)


def test_a_pin_that_counted_files_beside_the_model_still_holds(settings: Settings, tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "copy.safetensors").write_bytes(b"the same weights once more")
    old = all_files_digest(folder, tmp_path / "memory")[:12]
    assert old not in pin_model(str(folder), ModelRole.GENERATOR, settings)
    assert resolve_model(f"{folder}@{old}", ModelRole.GENERATOR, settings) == folder


def test_weights_that_only_a_pickle_holds_are_refused_before_anything_loads(settings: Settings, tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    for use in (pin_model, resolve_model):
        with pytest.raises(MissingWeightsError, match="pickle only"):
            use(str(folder), ModelRole.EDITOR, settings)


def test_hub_model_without_revision_is_refused(settings: Settings) -> None:
    with pytest.raises(RecipeError, match="names no revision"):
        resolve_model("black-forest-labs/FLUX.1-dev", ModelRole.GENERATOR, settings)


@pytest.mark.parametrize("reference", ["./nowhere", "/nowhere", "nanoo", "../../etc"])
def test_missing_folder_is_a_clear_error(settings: Settings, reference: str) -> None:
    with pytest.raises(MissingWeightsError, match="no model folder"):
        resolve_model(reference, ModelRole.GENERATOR, settings)


@pytest.mark.parametrize("reference", ["", "~nobody-here/model", "\0", "a" * 5_000, "@", "@main"])
def test_references_that_name_nothing_are_plain_errors(settings: Settings, reference: str) -> None:
    with pytest.raises(FlenwheelError):
        pin_model(reference, ModelRole.GENERATOR, settings)


@pytest.mark.parametrize(
    "config",
    ["[" * 100_000, "no json", "[]", '{"architectures": 3}', '{"architectures": {"a": 1}}', '{"_class_name": [1]}'],
)
def test_a_folder_whose_configuration_is_odd_is_a_plain_error(tmp_path: Path, config: str) -> None:
    folder = model_folder(tmp_path)
    (folder / "config.json").write_text(config)
    for role in (ModelRole.GENERATOR, ModelRole.EDITOR):
        with pytest.raises(FlenwheelError):
            require_kind(folder, role)
