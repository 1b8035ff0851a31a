"""The trainer on a tiny Z-Image: exact resume, a file that is worn here and in diffusers, refusals in words."""

from pathlib import Path

import pytest
import torch
from diffusers import ZImagePipeline
from safetensors.torch import load

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.base.errors import InterruptedStageError, ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.family_options import option_problems
from flenwheel_core.models.protocols import GenerateJob, ModelSetup
from flenwheel_core.models.registry import family_of
from flenwheel_core.models.z_image.generator import open_generator
from flenwheel_core.models.z_image.loading import ZImageModel
from flenwheel_core.models.z_image.memory import require_room
from flenwheel_core.models.z_image.trainer import train_lora
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


def test_a_card_without_room_is_refused_before_anything_loads(z_image_folder: Path) -> None:
    assert 0 < require_room(z_image_folder, RECIPE, 23.5) < 23.5
    with pytest.raises(ResourceError, match="Training Z-Image needs"):
        require_room(z_image_folder, RECIPE, 1.0)
    with pytest.raises(ResourceError, match="ran out of memory with it") as refused:
        require_room(z_image_folder, RECIPE, 23.5, memory_level=1)
    assert "no tighter plan" in refused.value.why
