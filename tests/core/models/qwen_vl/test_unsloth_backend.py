"""Unsloth as a backend: refused where it is not set up, the same file and proofs where it is.

With TEST_UNSLOTH_PYTHON naming an interpreter that has Unsloth and a card, the real one is tried instead of the stand-in.
"""

import os
from pathlib import Path

import pytest
import torch

from flenwheel_core.base.errors import FlenwheelError, InputError, InterruptedStageError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.tensor_file import read_tensors
from flenwheel_core.engine.vl_job import VlTrained, VlTrainJob
from flenwheel_core.models.qwen_vl import proofs
from flenwheel_core.models.qwen_vl.trainer import VlModel
from flenwheel_core.models.qwen_vl.unsloth_backend import require_unsloth, train_lora
from flenwheel_core.recipes.train import LoraRecipe
from tests.kit.tiny_vl import KINDS, save_tiny_vl
from tests.kit.unsloth_stand_in import write_interpreter
from tests.kit.vl_lessons import RECIPE, hooks, job


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VlModel:
    folder = save_tiny_vl(tmp_path_factory.mktemp(request.param), request.param)
    return VlModel(folder, str(folder), torch.device("cpu"), torch.float32)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    real = os.environ.get("TEST_UNSLOTH_PYTHON")
    return Path(real) if real else write_interpreter(tmp_path / "python")


def test_it_is_refused_where_it_is_not_set_up(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unsloth_python is not set") as refused:
        require_unsloth(Settings(workspace=tmp_path))
    assert "pip install unsloth" in str(refused.value)
    with pytest.raises(InputError, match="there is no"):
        require_unsloth(Settings(workspace=tmp_path, unsloth_python=tmp_path / "none"))


def test_every_proof_holds_of_what_it_trained(
    model: VlModel, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "SIDE", 112)

    def train(asked: VlTrainJob, told: TrainHooks) -> VlTrained:
        return train_lora(model, asked, told, python)

    work = tmp_path / "work"
    work.mkdir()
    found = list(proofs.prove(model, work, "nf4", hooks(), train=train))
    assert {proof.name: proof.said for proof in found if not proof.holds} == {} and len(found) == 15


def test_it_learns_and_its_scale_is_in_b(model: VlModel, python: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"lora": LoraRecipe(rank=4, alpha=8.0)})
    made = train_lora(model, job(tmp_path, recipe), hooks(), python)
    assert made.losses[-1].loss < made.losses[0].loss and made.step_seconds > 0
    (tmp_path / "ours.safetensors").write_bytes(made.lora)
    ours, facts = read_tensors(tmp_path / "ours.safetensors")
    theirs = read_tensors(tmp_path / "unsloth" / "adapter_model.safetensors")[0]
    assert ours.keys() == theirs.keys() and facts["flenwheel.backend"].startswith("unsloth")
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor * (2.0 if ".lora_B." in name else 1.0))


def test_what_it_would_not_follow_is_refused(model: VlModel, python: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"gradient_accumulation": 2, "optimizer": "prodigy"})
    with pytest.raises(RecipeError, match="gradient_accumulation, optimizer"):
        train_lora(model, job(tmp_path, recipe), hooks(), python)
    recipe = RECIPE.model_copy(update={"deterministic": True, "trackers": ("tensorboard",)})
    with pytest.raises(RecipeError, match="deterministic, trackers"):
        train_lora(model, job(tmp_path, recipe), hooks(), python)


@pytest.mark.parametrize(
    "asked",
    [
        {"targets": ("attention",)},
        {"include": ("*.q_proj",)},
        {"exclude": ("*.mlp.*",)},
        {"blocks": ("layer:0",)},
        {"block_ranks": {"layer:0": 2}},
        {"rslora": True},
    ],
)
def test_adapters_that_it_would_make_otherwise_are_refused(
    model: VlModel, python: Path, tmp_path: Path, asked: dict[str, object]
) -> None:
    recipe = RECIPE.model_copy(update={"lora": LoraRecipe.model_validate({"rank": 4, **asked})})
    with pytest.raises(RecipeError, match=f"does not know lora.{next(iter(asked))} of"):
        train_lora(model, job(tmp_path, recipe), hooks(), python)


@pytest.mark.parametrize("format_", ["fp8", "float32"])
def test_weights_that_it_would_keep_otherwise_are_refused(
    model: VlModel, python: Path, tmp_path: Path, format_: str
) -> None:
    with pytest.raises(RecipeError, match="weight_format"):
        train_lora(model, job(tmp_path, RECIPE.model_copy(update={"weight_format": format_})), hooks(), python)


def test_a_stop_ends_it_and_its_last_words_are_told(model: VlModel, python: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedStageError):
        train_lora(model, job(tmp_path), hooks(stop_after=0), python)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'No module named unsloth' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(FlenwheelError, match="No module named unsloth"):
        train_lora(model, job(tmp_path), hooks(), broken)
