"""The editor's trainer on a tiny Kontext: exact resume, a file that is worn and that other programs read, storages, refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from safetensors.torch import load

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.base.errors import InputError, InterruptedStageError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.edit_job import EditLesson, EditTrainJob
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.flux1.edit_trainer import encode_lessons, train_editor
from flenwheel_core.models.flux1.editor import open_editor
from flenwheel_core.models.flux1.kohya import to_kohya
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.protocols import EditJob, ModelSetup
from flenwheel_core.models.registry import family_of_architecture
from flenwheel_core.recipes.train import LoraRecipe
from tests.kit.character_runs import RECIPE, hooks, largest_difference
from tests.kit.tiny_editor import picture
from tests.kit.tiny_flux import tiny_inputs, tiny_transformer

SAMPLER = Sampler(steps=2, guidance=2.5, true_cfg=1.0, width=64, height=64)
EDITS = RECIPE.model_copy(update={"sampling": RECIPE.sampling.model_copy(update={"every_steps": 0})})
ONE_STEP = EDITS.model_copy(update={"steps": 1})


def lesson(width: int = 70, height: int = 60) -> EditLesson:
    return EditLesson(
        "make it smile",
        lambda: picture(70, 60, 1),
        lambda: picture(width, height, 2),
        load_rejected=lambda: picture(70, 60, 3),
    )


def edit_job(folder: Path, *lessons: EditLesson, **changes: object) -> EditTrainJob:
    chosen = {"lessons": lessons or (lesson(),), "recipe": EDITS, **changes}
    weights = {"changed_weight": 2.0, "kept_weight": 1.0, "mistake_weight": 2.0}
    return EditTrainJob(run="run", name="lesson", seed=3, folder=folder, **weights, **chosen)  # type: ignore[arg-type]


@pytest.fixture
def cache(tmp_path: Path) -> TensorCache:
    return TensorCache(tmp_path / "cache")


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bytes_and_its_file_is_worn(
    kontext: FluxModel, kontext_folder: Path, settings: Settings, cache: TensorCache, tmp_path: Path
) -> None:
    whole = train_editor(kontext, edit_job(tmp_path / "a"), hooks(), cache)
    with pytest.raises(InterruptedStageError):
        train_editor(kontext, edit_job(tmp_path / "b"), hooks(stop_after=2), cache)
    resumed = train_editor(kontext, edit_job(tmp_path / "b"), hooks(), cache)
    assert resumed.lora == whole.lora and resumed.losses == whole.losses
    (tmp_path / "lora.safetensors").write_bytes(whole.lora)
    made = []
    for weight in (0.0, 1.0):
        loras = (LoraFile(tmp_path / "lora.safetensors", weight),)
        with open_editor(kontext_folder, "tiny", settings, ModelSetup(loras=loras)) as editor:
            made.append(next(editor.edit([EditJob("a", "smiling", 1, SAMPLER, (picture(64, 64, 1),))])).image)
    assert largest_difference(*made) > 1


def test_the_file_loads_in_diffusers_and_has_the_layout_that_comfyui_reads(
    kontext: FluxModel, cache: TensorCache, tmp_path: Path
) -> None:
    data = train_editor(kontext, edit_job(tmp_path / "a", recipe=ONE_STEP), hooks(), cache).lora
    facts = file_metadata(data)
    assert facts["modelspec.architecture"] == "flux-1-kontext-dev/lora" and "modelspec.trigger_phrase" not in facts
    family = family_of_architecture(facts["modelspec.architecture"])
    assert family is not None and "kohya" in family.lora_layouts
    (tmp_path / "lora.safetensors").write_bytes(data)
    fresh = tiny_transformer()
    before = fresh(**tiny_inputs(), return_dict=False)[0]
    fresh.load_lora_adapter(str(tmp_path / "lora.safetensors"), prefix="transformer")
    assert not torch.allclose(fresh(**tiny_inputs(), return_dict=False)[0], before, atol=1e-5)
    ours, other = load(data), load(to_kohya(data))
    assert json.loads(facts["lora_adapter_metadata"])["transformer.r"] == 2
    assert "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight" in other
    name = "transformer_blocks.0.ff.net.2"
    back = _convert_kohya_flux_lora_to_diffusers(
        {key: value for key, value in other.items() if "double_blocks_0_img_mlp_2" in key}
    )
    product = [
        tensors[f"transformer.{name}.lora_B.weight"] @ tensors[f"transformer.{name}.lora_A.weight"]
        for tensors in (ours, back)
    ]
    torch.testing.assert_close(*product)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["fp8", "nf4"])
def test_quantised_weights_train(kontext: FluxModel, cache: TensorCache, tmp_path: Path, storage: str) -> None:
    notes: list[str] = []
    job = edit_job(tmp_path, recipe=ONE_STEP, storage=storage)
    assert train_editor(kontext, job, hooks(notes=notes), cache).losses[0].loss > 0
    assert any(f"{storage} weights" in note for note in notes)


def test_lessons_keep_their_shape_in_the_recipes_buckets(
    kontext: FluxModel, cache: TensorCache, tmp_path: Path
) -> None:
    """The formats that the editor prefers are for editing: 70 x 60 would be stretched to 64 x 64, or to another format."""
    same, other = encode_lessons(kontext, edit_job(tmp_path, lesson(), lesson(100, 60), anchor=1.0), cache)
    assert same.bucket == other.bucket == "64x64"
    wide = encode_lessons(kontext, edit_job(tmp_path, replace(lesson(), load_source=lambda: picture(96, 40, 1))), cache)
    assert wide[0].bucket == "80x48"
    region, wrong = same.weights.region, same.weights.wrong
    assert region is not None and region.shape == (16, 1) and float(region.max()) > 1
    assert wrong is not None and float(wrong.max()) == pytest.approx(1.0)
    assert not torch.equal(same.prompt.sequence, same.empty.sequence) and len(same.prompt) == 64
    assert not torch.equal(same.source, same.target)


def test_distilled_guidance_and_the_anchor_change_what_is_aimed_at(
    kontext: FluxModel, cache: TensorCache, tmp_path: Path
) -> None:
    approved = replace(lesson(), load_rejected=None, approved=True)
    plain, guided, anchored = (
        train_editor(kontext, edit_job(tmp_path / name, approved, recipe=ONE_STEP, **more), hooks(), cache)
        .losses[0]
        .loss
        for name, more in (("a", {}), ("b", {"distilled_guidance": 3.0}), ("c", {"anchor": 1.0}))
    )
    assert guided != plain
    assert anchored == pytest.approx(0.0, abs=1e-8)  # the new LoRA changes nothing yet, and nothing was wrong


def test_a_corrected_edit_teaches_that_it_is_better_than_the_rejected_one(
    kontext: FluxModel, cache: TensorCache, tmp_path: Path
) -> None:
    job = edit_job(tmp_path / "a", recipe=ONE_STEP, corrections_teach="both")
    (example,) = encode_lessons(kontext, job, cache)
    assert example.rejected is not None and example.rejected.shape == example.target.shape
    assert not torch.equal(example.rejected, example.target)
    both = train_editor(kontext, job, hooks(), cache).losses[0].loss
    alone = edit_job(tmp_path / "b", recipe=ONE_STEP.model_copy(update={"caption_dropout": 0.0}))
    assert both > train_editor(kontext, alone, hooks(), cache).losses[0].loss


def test_what_cannot_be_trained_is_refused_in_words_before_anything_loads(
    kontext: FluxModel, cache: TensorCache, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no triplets"):
        train_editor(kontext, edit_job(tmp_path, lessons=()), hooks(), cache)
    with pytest.raises(RecipeError, match=r"FLUX\.1 has no int8 weights"):
        train_editor(kontext, edit_job(tmp_path, storage="int8"), hooks(), cache)
    recipe = EDITS.model_copy(update={"lora": LoraRecipe(rank=2, dora=True)})
    with pytest.raises(RecipeError, match="cannot be combined"):
        train_editor(kontext, edit_job(tmp_path, recipe=recipe, storage="nf4"), hooks(), cache)
