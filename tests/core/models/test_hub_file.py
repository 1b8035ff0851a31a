"""LoRA files on the Hub: pinned, fetched once, checked, and taken without network once they are here."""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.models.hub_file import HubFile, fetch_file, file_here, hub_file
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.plans.model_needs import model_needs
from flenwheel_core.plans.recipe_check import recipe_problems
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import EditorLora, Recipe
from flenwheel_core.store import Store
from tests.kit.hub import COMMIT, Hub, Repository, running_hub

PATH = "few/steps-bf16.safetensors"
NAME = f"owner/loras@main:{PATH}"
LORA = tensor_bytes(
    {
        "transformer_blocks.0.attn.to_q.lora_A.weight": torch.zeros(2, 8),
        "transformer_blocks.0.attn.to_q.lora_B.weight": torch.zeros(8, 2),
    }
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as found:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", found.url)
        template = found.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        found.models["owner/loras"] = Repository({PATH: LORA, "README.md": b"x", "few/other.safetensors": b"y"})
        yield found


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"models": tmp_path / "models"})


def with_lora(file: str) -> Recipe:
    nano = load_recipe("nano")
    return nano.model_copy(update={"enrich": nano.enrich.model_copy(update={"loras": (EditorLora(file=file),)})})


@pytest.mark.parametrize(
    "text",
    ["a.safetensors", "/x/a.safetensors", "owner/name", "owner/name@main", "owner/name@main:a.bin",
     "owner/name@main:../a.safetensors", "owner/name@main:/a.safetensors", "C:/a/b.safetensors"],
)  # fmt: skip
def test_other_texts_are_no_files_of_the_hub(text: str) -> None:
    assert hub_file(text) is None


def test_the_form_is_read_and_written() -> None:
    assert hub_file(NAME) == HubFile("owner/loras", "main", PATH)
    assert str(hub_file(NAME)) == NAME


def test_a_file_is_pinned_and_fetched_once_and_nothing_beside_it(hub: Hub, settings: Settings) -> None:
    file = hub_file(NAME)
    assert file is not None and file_here(file, settings) is None
    pinned, path = fetch_file(file, settings)
    assert pinned.revision == COMMIT and path.read_bytes() == LORA
    sent = hub.sent[PATH]
    assert sent >= len(LORA) and hub.sent["few/other.safetensors"] == 0
    assert fetch_file(pinned, settings) == (pinned, path) and hub.sent[PATH] == sent
    del hub.models["owner/loras"]
    assert fetch_file(pinned, settings)[1] == path, "what is here and pinned asks nobody"


def test_a_damaged_file_is_removed_and_said(hub: Hub, settings: Settings) -> None:
    hub.models["owner/loras"].spoil = True
    file = hub_file(NAME)
    assert file is not None
    with pytest.raises(MissingWeightsError):
        fetch_file(file, settings)
    assert file_here(file, settings) is None


def test_a_path_that_is_not_there_is_said(hub: Hub, settings: Settings) -> None:
    with pytest.raises(MissingWeightsError, match=r"holds no file few/gone.safetensors"):
        fetch_file(HubFile("owner/loras", "main", "few/gone.safetensors"), settings)


def test_a_recipe_is_pinned_with_its_files_and_the_editor_wears_them(
    hub: Hub, settings: Settings, tmp_path: Path
) -> None:
    recipe = with_lora(NAME)
    assert recipe_problems(recipe, settings) == []
    (need,) = [need for need in model_needs(recipe, settings) if need.uses == ("editor LoRA",)]
    assert need.remaining_bytes == len(LORA) and need.licence == "apache-2.0"
    pinned = pin_recipe(recipe, settings)
    assert pinned.enrich.loras[0].file == f"owner/loras@{COMMIT}:{PATH}"
    store = Store(settings.store_url)
    (use,) = EditorLibrary(store, settings).community(pinned)
    assert store.get_blob(use.digest) == LORA
    assert all(need.is_here for need in model_needs(pinned, settings))
    assert pin_recipe(recipe, settings, uses=("base",)).enrich.loras[0].file == NAME, "only the editor wears them"
