"""The trainer on a tiny Z-Image: exact resume, a file that is worn here and in diffusers, refusals in words."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import ZImagePipeline
from safetensors.torch import load

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.base.errors import InterruptedStageError, NoTighterPlanError, RecipeError, ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import TrainJob
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.family_options import option_problems
from flenwheel_core.models.protocols import GenerateJob, ModelSetup
from flenwheel_core.models.registry import family_of
from flenwheel_core.models.z_image.adapter import plan_training
from flenwheel_core.models.z_image.generator import open_generator
from flenwheel_core.models.z_image.loading import ZImageModel
from flenwheel_core.models.z_image.memory import own_modules_gib, training_memory
from flenwheel_core.models.z_image.trainer import train_lora
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from tests.kit.character_runs import RECIPE, character_job, first_step_without_masks, hooks, largest_difference

PROMPT = "photo of ohwx person"
SAMPLER = Sampler(steps=2, guidance=1.0, true_cfg=2.0, width=96, height=64)


def test_a_stopped_run_goes_on_to_the_same_bytes_and_its_file_is_worn(
    model: ZImageModel, z_image_folder: Path, pipeline: ZImagePipeline, settings: Settings, tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path / "cache")
    whole = train_lora(model, character_job(tmp_path / "a", SAMPLER, PROMPT, "ohwx"), hooks(), cache)
    with pytest.raises(InterruptedStageError):
        train_lora(model, character_job(tmp_path / "b", SAMPLER, PROMPT, "ohwx"), hooks(stop_after=2), cache)
    resumed = train_lora(model, character_job(tmp_path / "b", SAMPLER, PROMPT, "ohwx"), hooks(), cache)
    assert resumed.lora == whole.lora and resumed.losses == whole.losses
    unmasked = train_lora(
        model, first_step_without_masks(character_job(tmp_path / "c", SAMPLER, PROMPT, "ohwx")), hooks(), cache
    )
    assert unmasked.losses[0].loss != whole.losses[0].loss
    assert [sample.step for sample in whole.samples] == [0, 4] and all(one.path.exists() for one in whole.samples)
    facts = file_metadata(whole.lora)
    assert facts["modelspec.trigger_phrase"] == "ohwx" and facts["modelspec.architecture"] == "z-image/lora"
    assert any("lora_B" in name and bool(tensor.any()) for name, tensor in load(whole.lora).items())

    (tmp_path / "lora.safetensors").write_bytes(whole.lora)
    made = {}
    for weight in (0.0, 1.0):
        with open_generator(
            z_image_folder, "tiny", settings, ModelSetup(loras=(LoraFile(tmp_path / "lora.safetensors", weight),))
        ) as one:
            made[weight] = next(one.generate([GenerateJob("a", PROMPT, 1, SAMPLER)])).image
    assert largest_difference(made[0.0], made[1.0]) > 1
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    theirs = pipeline(
        PROMPT,
        height=64,
        width=96,
        num_inference_steps=2,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(1),
    ).images[0]
    assert largest_difference(theirs, made[1.0]) <= 1


def test_what_its_trainer_does_not_read_is_refused_in_words(z_image_folder: Path) -> None:
    family = family_of(z_image_folder)
    assert family.name == "Z-Image" and option_problems(family, RECIPE) == []
    problems = option_problems(family, RECIPE.model_copy(update={"guidance": 3.5}))
    assert "no guidance embedding" in problems[0]


RELEASED = {
    "in_channels": 16,
    "dim": 3840,
    "n_layers": 30,
    "n_refiner_layers": 2,
    "n_heads": 30,
    "n_kv_heads": 30,
    "cap_feat_dim": 2560,
    "axes_dims": [32, 48, 48],
}


def test_a_card_without_room_is_refused_before_anything_loads() -> None:
    recipe = TrainingRecipe(lora=LoraRecipe(rank=32))
    plan, line = training_memory(RELEASED, recipe, CardRoom(23.5, multiplies_fp8=True))
    assert plan.storage == "fp8" and 15 < plan.predicted_gib < 23.5 and "fp8 weights" in line
    tighter, _ = training_memory(RELEASED, recipe, CardRoom(23.5, multiplies_fp8=True), tighter=1)
    assert tighter.predicted_gib < plan.predicted_gib - 0.5
    assert training_memory(RELEASED, recipe, CardRoom(23.5, multiplies_fp8=False))[0].storage == "dense"
    assert training_memory(RELEASED, recipe, CardRoom(11.5, multiplies_fp8=False))[0].storage == "nf4"
    with pytest.raises(ResourceError, match="Training Z-Image needs"):
        training_memory(RELEASED, recipe, CardRoom(3.0, multiplies_fp8=True))


def test_what_the_fast_transformer_does_not_cover_trains_through_diffusers_modules_or_not_at_all(
    model: ZImageModel, z_image_folder: Path
) -> None:
    dora = RECIPE.model_copy(update={"lora": LoraRecipe(rank=2, dora=True)})
    assert plan_training(model, dora, print, tighter=0) is None
    assert 0 < own_modules_gib(z_image_folder, dora, 23.5) < 23.5
    with pytest.raises(ResourceError, match="Training Z-Image needs"):
        own_modules_gib(z_image_folder, dora, 1.0)
    with pytest.raises(NoTighterPlanError, match="no tighter plan"):
        own_modules_gib(z_image_folder, dora, 23.5, memory_level=1)
    with pytest.raises(RecipeError, match="cannot be combined"):
        own_modules_gib(z_image_folder, dora.model_copy(update={"weight_format": "nf4"}), 23.5)


def test_quantised_weights_train_here_too_and_are_told(
    z_image_folder: Path, model: ZImageModel, tmp_path: Path
) -> None:
    told: list[str] = []
    job = character_job(tmp_path / "a", SAMPLER, PROMPT, "ohwx")
    recipe = job.recipe.model_copy(update={"weight_format": "fp8"})
    quantised = replace(job, recipe=recipe)
    made = train_lora(model, quantised, replace(hooks(), note=told.append), TensorCache(tmp_path / "cache"))
    exact = train_lora(
        model, character_job(tmp_path / "b", SAMPLER, PROMPT, "ohwx"), hooks(), TensorCache(tmp_path / "cache")
    )
    assert any("fp8 weights" in line for line in told)
    for one, other in zip(made.losses, exact.losses, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=0.2) and one.loss != other.loss


def test_states_are_kept_and_pictures_looked_at_without_changing_the_training(
    model: ZImageModel, tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path / "cache")

    def job(folder: str, **marks: tuple[int, ...]) -> TrainJob:
        plain = character_job(tmp_path / folder, SAMPLER, PROMPT, "ohwx")
        first, second = plain.pictures
        return replace(plain, pictures=(first, replace(second, begins=0.5)), **marks)

    plain = train_lora(model, job("plain"), hooks(), cache)
    whole = train_lora(model, job("whole", keep_at=(2,), look_at=(1, 3)), hooks(), cache)
    assert whole.lora == plain.lora and whole.losses == plain.losses and not plain.kept and not plain.looks
    with pytest.raises(InterruptedStageError):
        train_lora(model, job("stopped", keep_at=(2,), look_at=(1, 3)), hooks(stop_after=2), cache)
    resumed = train_lora(model, job("stopped", keep_at=(2,), look_at=(1, 3)), hooks(), cache)
    assert (resumed.lora, resumed.kept, resumed.looks) == (whole.lora, whole.kept, whole.looks)

    [(step, kept)] = whole.kept
    facts = file_metadata(kept)
    assert step == 2 and facts["ss_steps"] == "2" and kept != whole.lora
    assert facts["modelspec.hash_sha256"] != file_metadata(whole.lora)["modelspec.hash_sha256"]
    assert [(look.step, look.image[0]) for look in whole.looks] == [(1, "0"), (1, "1"), (3, "0"), (3, "1")]
    assert len({look.base_loss for look in whole.looks}) == 2, "the base's loss is the picture's, whatever the step"
    assert all(look.loss != look.base_loss for look in whole.looks)

    other = train_lora(model, character_job(tmp_path / "together", SAMPLER, PROMPT, "ohwx"), hooks(), cache)
    assert other.lora != plain.lora, "when a picture begins matters"
