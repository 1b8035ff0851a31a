"""Models from the Hub, by the real client against a stand-in: only what is needed, said and checked before, gone on with after a break."""

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from flenwheel_core.base.errors import MissingWeightsError, ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models import hub as hub_module
from flenwheel_core.models.hub import ask_hub, fetch, require_disk
from flenwheel_core.models.references import ModelRole, pin_model, resolve_model
from tests.kit.hub import COMMIT, Hub, Repository, running_hub, sha256

torch = pytest.importorskip("torch")

ID = "somebody/FLUX.1-dev"
WEIGHTS = tensor_bytes({"x": torch.arange(50_000, dtype=torch.float32)})
INDEX = {
    "_class_name": "FluxPipeline",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
}
OWN = {
    "model_index.json": json.dumps(INDEX).encode(),
    "scheduler/scheduler_config.json": b'{"shift": 3}',
    "tokenizer/vocab.json": b'{"a": 0}',
    "transformer/config.json": b"{}",
    "transformer/diffusion_pytorch_model.safetensors.index.json": json.dumps(
        {"weight_map": {"x": "a.safetensors"}}
    ).encode(),
    "transformer/a.safetensors": WEIGHTS,
}
BESIDE = {
    "README.md": b"# hello",
    "flux1-dev.safetensors": WEIGHTS * 2,
    "ae.safetensors": WEIGHTS,
    "transformer/diffusion_pytorch_model.bin": b"pickle",
    "modeling.py": b"import os",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as found:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", found.url)
        template = found.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        found.models[ID] = Repository(OWN | BESIDE)
        yield found


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"models": tmp_path / "models"})


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_the_files_that_belong_to_the_model_are_fetched(hub: Hub, settings: Settings) -> None:
    folder = resolve_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    assert names(folder) == set(OWN) == set(hub.sent)
    assert hub.sent["transformer/a.safetensors"] == len(WEIGHTS)
    assert pin_model(f"{ID}@main", ModelRole.GENERATOR, settings) == f"{ID}@{COMMIT}"


def test_the_hub_is_asked_before_the_first_byte_of_weights(hub: Hub, settings: Settings) -> None:
    model = ask_hub(ID, "main", settings)
    assert (model.commit, model.licence, model.gated) == (COMMIT, "apache-2.0", False)
    assert model.size_bytes == sum(map(len, OWN.values())) and len(WEIGHTS) <= model.remaining_bytes < model.size_bytes
    assert model.sha256 == {"transformer/a.safetensors": sha256(WEIGHTS)}
    assert not any(name.endswith(".safetensors") for name in hub.sent)
    fetch(model, settings)
    assert ask_hub(ID, "main", settings).remaining_bytes == 0


def test_a_model_that_is_here_and_pinned_needs_no_network(hub: Hub, settings: Settings) -> None:
    pinned = pin_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    hub.models.clear()
    hub.sent.clear()
    assert resolve_model(pinned, ModelRole.GENERATOR, settings).name == COMMIT
    assert not hub.sent


def test_without_network_a_branch_is_what_it_was(hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = pin_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert pin_model(f"{ID}@main", ModelRole.GENERATOR, settings) == pinned
    with pytest.raises(MissingWeightsError, match="could not be fetched"):
        pin_model("somebody/other@main", ModelRole.GENERATOR, settings)


def test_a_branch_that_moved_is_fetched_anew_and_the_old_pin_stays(hub: Hub, settings: Settings) -> None:
    old = pin_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    hub.models[ID] = Repository(OWN | {"transformer/config.json": b'{"new": 1}'}, commit="d" * 40)
    new = pin_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    assert new == f"{ID}@{'d' * 40}"
    assert (resolve_model(new, ModelRole.GENERATOR, settings) / "transformer" / "config.json").read_bytes() != b"{}"
    assert (resolve_model(old, ModelRole.GENERATOR, settings) / "transformer" / "config.json").read_bytes() == b"{}"


def test_what_is_here_is_taken_when_the_hub_gives_it_no_longer(hub: Hub, settings: Settings) -> None:
    pinned = pin_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    hub.models[ID].gated = True
    assert pin_model(f"{ID}@main", ModelRole.GENERATOR, settings) == pinned
    hub.models.clear()
    assert pin_model(f"{ID}@main", ModelRole.GENERATOR, settings) == pinned


def test_a_gated_model_is_refused_before_anything_is_fetched(hub: Hub, settings: Settings) -> None:
    hub.models[ID].gated = True
    with pytest.raises(MissingWeightsError, match="gated") as refused:
        resolve_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    assert f"https://huggingface.co/{ID}" in refused.value.remedy and not hub.sent


def test_bytes_that_are_not_the_promised_ones_are_removed(hub: Hub, settings: Settings) -> None:
    hub.models[ID].spoil = True
    with pytest.raises(MissingWeightsError, match="arrived damaged"):
        resolve_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    hub.models[ID].spoil = False
    folder = resolve_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    assert (folder / "transformer" / "a.safetensors").read_bytes() == WEIGHTS


def test_a_file_that_was_lost_is_fetched_again(hub: Hub, settings: Settings) -> None:
    pinned = pin_model(f"{ID}@main", ModelRole.GENERATOR, settings)
    (resolve_model(pinned, ModelRole.GENERATOR, settings) / "tokenizer" / "vocab.json").unlink()
    folder = resolve_model(pinned, ModelRole.GENERATOR, settings)
    assert names(folder) == set(OWN)


def test_too_little_disk_is_said_before_the_first_byte(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "free_disk_bytes", lambda _: 2**30 + 100)
    model = ask_hub(ID, "main", settings)
    with pytest.raises(ResourceError, match="more of disk"):
        fetch(model, settings)
    require_disk([], settings)
    assert not any(name.endswith(".safetensors") for name in hub.sent)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "pickles are never loaded"),
        ({"README.md": b"x"}, "neither model_index.json nor config.json"),
        (
            {"config.json": b"{}", "model.safetensors.index.json": b'{"weight_map": {"a": "b.safetensors"}}'},
            "lacks b.safetensors",
        ),
    ],
)
def test_a_repository_without_safetensors_is_refused(
    hub: Hub, settings: Settings, files: dict[str, bytes], said: str
) -> None:
    hub.models["a/b"] = Repository(files)
    with pytest.raises(MissingWeightsError, match=said):
        resolve_model("a/b@main", ModelRole.GENERATOR, settings)


@pytest.mark.parametrize(
    ("reference", "said"), [("no/model@main", "no model no/model"), (f"{ID}@v9", "no revision v9")]
)
def test_a_wrong_name_or_revision_is_named(hub: Hub, settings: Settings, reference: str, said: str) -> None:
    with pytest.raises(MissingWeightsError, match=said):
        resolve_model(reference, ModelRole.GENERATOR, settings)
