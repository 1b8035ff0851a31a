"""What is published says nothing of this machine, and a demo holds all that it needs."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.base.errors import InputError, MissingWeightsError
from flenwheel_core.models import embedded
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.model_files import folder_files
from flenwheel_core.publishing.bundle import bundle_of
from flenwheel_core.publishing.rules import require_shareable
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.export import export
from tests.kit.exported import export_request, publish_request

DEV = "black-forest-labs/FLUX.1-dev@main"


@pytest.mark.parametrize("here", [True, False])
def test_a_folder_as_base_leaves_no_path_behind(context: StageContext, tmp_path: Path, here: bool) -> None:
    base = tmp_path / "home-of-ana" / "my-flux"
    if here:  # else it was removed since, or lies on the machine that trained
        base.mkdir(parents=True)
    asked = export_request(context.store, base=f"{base}@{'1' * 12}")
    request = publish_request(context.store, export(asked, context).files, asked, "folder", "x")
    files = bundle_of(request, context.store).files
    assert not any(b"home-of-ana" in data for data in files.values())
    assert file_metadata(files["mira-v1.safetensors"]) == {"ss_sd_model_name": "my-flux", "a": "b"}
    assert b"base_model: my-flux" in files["README.md"]


@pytest.mark.parametrize("base", ["nano@1", DEV])
def test_a_demo_names_its_base_licence_and_prompts(context: StageContext, base: str) -> None:
    asked = export_request(context.store, base=base)
    request = publish_request(context.store, export(asked, context).files, asked, "hub", "ana/x", "space")
    files = bundle_of(request, context.store).files
    front = yaml.safe_load(files["README.md"].decode().split("---\n")[1])
    facts = json.loads(files["space.json"])
    assert front["sdk"] == "gradio" and f"gradio=={front['sdk_version']}" in files["requirements.txt"].decode()
    assert facts["prompts"][0] == "photo of ohwx_mira person, number 0" and facts["seed"] == 42
    assert facts["lora"] in files and facts["call"]["width"] == 64
    if base == DEV:
        assert facts["base"] == "black-forest-labs/FLUX.1-dev" and facts["revision"] == "main"
        assert front["license"] == "other" and front["license_link"].endswith("FLUX.1-dev/blob/main/LICENSE.md")
        assert not any(name.startswith("base/") for name in files)
    else:
        assert "base/model_index.json" in files and front["license"] == "apache-2.0"


@pytest.mark.usefixtures("siblings")
@pytest.mark.parametrize(
    ("base", "kind"), [("nano_klein@1", "Flux2KleinPipeline"), ("nano_zimage@1", "ZImagePipeline")]
)
def test_siblings_are_shipped_models_and_no_folders(context: StageContext, base: str, kind: str) -> None:
    asked = export_request(context.store, base=base)
    exported = export(asked, context).files
    model = bundle_of(publish_request(context.store, exported, asked, "hub", "ana/x"), context.store).files
    assert file_metadata(model["mira-v1.safetensors"])["ss_sd_model_name"] == base  # nothing to hide
    demo = publish_request(context.store, exported, asked, "hub", "ana/x", "space")
    files = bundle_of(demo, context.store, context.settings.models).files
    assert json.loads(files["base/model_index.json"])["_class_name"] == kind


def test_a_demo_holds_the_models_files_and_nothing_else(context: StageContext) -> None:
    folder = weights_folder("flux")
    left = folder / "vae" / ".left-by-something"
    left.write_text("of this machine")
    try:
        asked = export_request(context.store)
        request = publish_request(context.store, export(asked, context).files, asked, "hub", "ana/x", "space")
        files = bundle_of(request, context.store).files
    finally:
        left.unlink()
    base = {name.removeprefix("base/") for name in files if name.startswith("base/")}
    assert base == set(folder_files(folder).names)


def test_no_demo_with_damaged_weights(context: StageContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path(shutil.copytree(weights_folder("flux"), tmp_path / "shipped" / "flux"))
    (plain / "vae" / "diffusion_pytorch_model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    monkeypatch.setattr(embedded, "SHIPPED", tmp_path / "shipped")
    asked = export_request(context.store)
    request = publish_request(context.store, export(asked, context).files, asked, "hub", "ana/x", "space")
    with pytest.raises(MissingWeightsError, match="is no whole safetensors file"):
        bundle_of(request, context.store)


def test_no_demo_on_a_folder_of_this_machine(context: StageContext, tmp_path: Path) -> None:
    asked = export_request(context.store, base=str(tmp_path))
    request = publish_request(context.store, export(asked, context).files, asked, "hub", "ana/x", "space")
    with pytest.raises(InputError, match="no demo"):
        bundle_of(request, context.store)


def test_licences_forbid_allow_or_are_not_known() -> None:
    require_shareable("x", [DEV, "nano@1"], public=True)
    require_shareable("x", ["/a/folder@1"], public=False)
    with pytest.raises(InputError, match="for everybody") as caught:
        require_shareable("x", ["nano@1", "/a/folder@1"], public=True)
    assert "licence not known" in caught.value.why and "--allowed-by" in caught.value.remedy
    require_shareable("x", ["/a/folder@1"], public=True, allowed_by="my own")


def test_a_licence_without_derivatives_forbids_it_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from flenwheel_core.models.known_models import KNOWN_MODELS, KnownModel

    monkeypatch.setitem(KNOWN_MODELS, "some/body", KnownModel(1, "CC-BY-NC-ND-4.0", gated=False))
    with pytest.raises(InputError, match="cannot be published") as caught:
        require_shareable("x", ["some/body@main"], public=False)
    assert "allows no derivatives" in caught.value.why
