"""A LoRA on the language layers: the trainer's figures are transformers', the run goes on where it stopped, the eyes are left alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.errors import InputError, InterruptedStageError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.engine.vl_job import VlLesson
from flenwheel_core.models.protocols import ModelSetup
from flenwheel_core.models.qwen_vl import proofs
from flenwheel_core.models.qwen_vl.captioner import QUESTION, open_captioner
from flenwheel_core.models.qwen_vl.eyes import Eyes, open_processor
from flenwheel_core.models.qwen_vl.geometry import TARGETS, geometry_of
from flenwheel_core.models.qwen_vl.loading import load_network
from flenwheel_core.models.qwen_vl.proof_pictures import patchwork
from flenwheel_core.models.qwen_vl.trainer import VlModel, ranks_of, train_lora
from flenwheel_core.models.qwen_vl.wearing import wear
from flenwheel_core.recipes.train import LoraRecipe
from tests.kit.tiny_vl import KINDS, save_tiny_vl
from tests.kit.vl_lessons import RECIPE, hooks, job


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VlModel:
    folder = save_tiny_vl(tmp_path_factory.mktemp(request.param), request.param, tied=request.param == "qwen3")
    return VlModel(folder, str(folder), torch.device("cpu"), torch.float32)


def test_every_proof_holds(model: VlModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them: the trainer's loss and gradients are those of transformers with PEFT."""
    monkeypatch.setattr(proofs, "SIDE", 112)
    found = list(proofs.prove(model, tmp_path, "nf4", hooks()))
    assert {proof.name: proof.said for proof in found if not proof.holds} == {}
    assert len(found) == 15


def test_it_learns_and_goes_on_where_it_stopped(model: VlModel, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "cache")
    whole = train_lora(model, job(tmp_path / "whole"), hooks(), cache)
    with pytest.raises(InterruptedStageError):
        train_lora(model, job(tmp_path / "parts"), hooks(stop_after=3), cache)
    parts = train_lora(model, job(tmp_path / "parts"), hooks(), cache)
    assert parts.lora == whole.lora and parts.losses == whole.losses
    assert whole.losses[-1].loss < 0.5 * whole.losses[0].loss


def test_a_picture_is_looked_at_once(model: VlModel, tmp_path: Path) -> None:
    geometry = model.geometry

    def eyes(most: int) -> Eyes:
        shown = open_processor(model.folder, geometry, most)
        return Eyes(model.folder, geometry, shown, model.device, model.dtype, TensorCache(tmp_path))

    first, again, smaller = eyes(112**2), eyes(112**2), eyes(64**2)
    seen = first.see([patchwork(1, 112)] * 2)
    assert first.looked == 1 and torch.equal(again.see([patchwork(1, 112)])[0].features, seen[0].features)
    assert again.looked == 0 and again.digest == first.digest
    assert smaller.see([patchwork(1, 112)])[0].features.shape[1] < seen[0].features.shape[1] and smaller.looked == 1


@pytest.mark.parametrize(
    ("include", "why"), [(("*.proj",), "eyes"), (("*down_proj",), "eyes"), (("*.lm_head",), "no linear")]
)
def test_an_adapter_elsewhere_is_refused(model: VlModel, include: tuple[str, ...], why: str) -> None:
    geometry = model.geometry
    if include == ("*down_proj",) and geometry.levels > 1:
        pytest.skip("Qwen3's eyes have no linear of that name")
    with pytest.raises(RecipeError) as refused:
        ranks_of(geometry, LoraRecipe(include=include))
    assert why in str(refused.value)


def test_the_usual_groups_are_all_language_linears(model: VlModel) -> None:
    geometry = model.geometry
    assert set(ranks_of(geometry, LoraRecipe())) == set(geometry.linears)
    assert all("mlp" in name for name in ranks_of(geometry, LoraRecipe(targets=("mlp",))))
    assert TARGETS.groups["embedders"] == ()


def test_a_job_that_teaches_nothing_is_refused(model: VlModel, tmp_path: Path) -> None:
    plain = job(tmp_path)
    blank = replace(plain, lessons=(replace(plain.lessons[0], answer=" "), *plain.lessons[1:]))
    with pytest.raises(InputError, match="1 of 3 lessons have no answer"):
        train_lora(model, blank, hooks(), TensorCache(tmp_path))
    dora = RECIPE.model_copy(update={"lora": LoraRecipe(dora=True)})
    with pytest.raises(RecipeError, match="neither dora nor dropout"):
        train_lora(model, job(tmp_path, dora), hooks(), TensorCache(tmp_path))


def test_the_file_names_language_layers_alone(model: VlModel, tmp_path: Path) -> None:
    trained = train_lora(model, job(tmp_path / "run"), hooks(), TensorCache(tmp_path / "cache"))
    file = tmp_path / "lora.safetensors"
    file.write_bytes(trained.lora)
    tensors, said = read_tensors(file)
    assert len(tensors) == 2 * len(model.geometry.linears)
    assert all(name.startswith("base_model.model.model.language_model.layers.") for name in tensors)
    assert said["flenwheel.eyes"] == trained.eyes and said["modelspec.prediction_type"] == "next_token"


def test_another_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["LlavaForConditionalGeneration"]}')
    with pytest.raises(InputError, match="known are Qwen2_5_VLForConditionalGeneration"):
        geometry_of(tmp_path)


def test_a_captioner_that_wears_what_it_learned_says_it(model: VlModel, tmp_path: Path) -> None:
    """The whole way: the lesson's question and answer are, token for token, what generating asks and gives."""
    picture = patchwork(5, 112)
    lesson = VlLesson((picture.copy,), QUESTION, "a red cat, smiling")
    recipe = RECIPE.model_copy(update={"steps": 30, "batch_size": 1})
    learned = replace(job(tmp_path / "run", recipe), lessons=(lesson,))
    file = tmp_path / "lora.safetensors"
    file.write_bytes(train_lora(model, learned, hooks(), TensorCache(tmp_path / "cache")).lora)
    settings, said = Settings(workspace=tmp_path, gpu="cpu"), []
    for loras in ((), (LoraFile(file, 1.0),)):
        with open_captioner(model.folder, model.reference, settings, ModelSetup(loras=loras)) as captioner:
            said.append(captioner.caption([picture])[0])
    assert said[1] == "a red cat, smiling" != said[0]


def test_a_lora_of_another_model_is_not_worn(model: VlModel, tmp_path: Path) -> None:
    file = tmp_path / "lora.safetensors"
    name = "base_model.model.model.visual.blocks.0.attn.qkv.lora_{}.weight"
    tensors = {name.format("A"): torch.zeros(2, 64), name.format("B"): torch.zeros(192, 2)}
    file.write_bytes(tensor_bytes(tensors))
    with pytest.raises(InputError, match="no language layer"):
        wear(load_network(model.folder, None), file)
