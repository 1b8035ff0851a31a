"""Qwen-Image as a base: pictures are the pipeline's own, the trainer resumes exactly, uses that a class has not are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import QwenImagePipeline
from PIL import Image
from safetensors.torch import load

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_header import file_metadata
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.base.errors import InputError, InterruptedStageError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models import registry
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.family_options import option_problems
from flenwheel_core.models.protocols import GenerateJob, ModelSetup
from flenwheel_core.models.qwen_image.adapter import put_on
from flenwheel_core.models.qwen_image.card_plans import card_plans
from flenwheel_core.models.qwen_image.character_trainer import QwenItem, QwenTask, train_lora
from flenwheel_core.models.qwen_image.generator import open_generator
from flenwheel_core.models.qwen_image.loading import QwenEditModel, find_model
from flenwheel_core.models.qwen_image.prompts import encode_prompts
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from tests.kit.character_runs import RECIPE, character_job, first_step_without_masks, hooks, largest_difference
from tests.kit.tiny_editor import save_tiny_base

PROMPT = "same person, forest background, smiling"


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workspace=tmp_path / "workspace", store=None, gpu="cpu")


@pytest.fixture
def model(base_folder: Path, settings: Settings) -> QwenEditModel:
    return find_model(base_folder, "tiny", settings)


@pytest.fixture
def pipeline(base_folder: Path) -> QwenImagePipeline:
    loaded = QwenImagePipeline.from_pretrained(base_folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def sampler(true_cfg: float = 1.0) -> Sampler:
    return Sampler(steps=3, guidance=1.0, true_cfg=true_cfg, width=96, height=64)


def drawn(pipeline: QwenImagePipeline, true_cfg: float) -> Image.Image:
    made: Image.Image = pipeline(
        PROMPT,
        negative_prompt=" ",
        true_cfg_scale=true_cfg,
        height=64,
        width=96,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    return made


@pytest.mark.parametrize("true_cfg", [1.0, 4.0])
def test_a_picture_is_the_pipelines_own(
    pipeline: QwenImagePipeline, base_folder: Path, settings: Settings, true_cfg: float
) -> None:
    expected = drawn(pipeline, true_cfg)
    with open_generator(base_folder, "tiny", settings) as generator:
        first, again = generator.generate([GenerateJob(key, PROMPT, 7, sampler(true_cfg)) for key in "ab"])
    assert largest_difference(first.image, expected) <= 1 and np.asarray(expected).std() > 3
    assert first.image.tobytes() == again.image.tobytes()


def test_prompts_are_the_pipelines(model: QwenEditModel, pipeline: QwenImagePipeline, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "cache")
    made = encode_prompts(model, [PROMPT, " "], cache)
    for text, hidden in made.items():
        torch.testing.assert_close(hidden, pipeline.encode_prompt(text)[0][0])
    assert len(encode_prompts(model, [PROMPT], cache, tokens=16)[PROMPT]) == min(16, len(made[PROMPT]))


def test_the_loss_is_that_of_the_paper_for_what_the_model_was_given(model: QwenEditModel) -> None:
    adapted: AdaptedTransformer = put_on(model.load_transformer(), LoraRecipe(rank=2), seed=0)
    generator = torch.Generator().manual_seed(1)
    channels, width = adapted.transformer.config.in_channels, adapted.transformer.config.joint_attention_dim  # type: ignore[union-attr]
    item = QwenItem("64x48", torch.randn(12, channels, generator=generator), torch.randn(5, width, generator=generator))
    seen: dict[str, Any] = {}
    adapted.transformer.register_forward_hook(
        lambda module, args, kwargs, output: seen.update(kwargs, output=output[0]), with_kwargs=True
    )
    recipe = TrainingRecipe.model_validate({"batch_size": 1, "prior": {"share": 0.0}, "lora": {"rank": 2}})
    task = QwenTask(
        adapted, recipe, [item], [], item.caption, scheduler=model.load_scheduler(), seed=1, sample=lambda step: None
    )
    loss = task.loss(0)
    sigma, noisy, clean = seen["timestep"].double(), seen["hidden_states"].double(), item.latents.double()
    noise = (noisy[0] - (1 - sigma) * clean) / sigma
    expected = ((seen["output"][0].double() - (noise - clean)) ** 2).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert abs(noise.mean()) < 0.3 and 0.7 < noise.std() < 1.3  # so time is not reversed
    assert seen["img_shapes"] == [[(1, 3, 4)]] and torch.equal(seen["encoder_hidden_states"][0], item.caption)


def test_a_stopped_run_goes_on_to_the_same_bytes_and_its_file_is_worn(
    model: QwenEditModel, base_folder: Path, pipeline: QwenImagePipeline, settings: Settings, tmp_path: Path
) -> None:
    cache = TensorCache(tmp_path / "cache")
    whole = train_lora(model, character_job(tmp_path / "a", sampler(2.0), PROMPT, "forest"), hooks(), cache)
    with pytest.raises(InterruptedStageError):
        train_lora(model, character_job(tmp_path / "b", sampler(2.0), PROMPT, "forest"), hooks(stop_after=2), cache)
    resumed = train_lora(model, character_job(tmp_path / "b", sampler(2.0), PROMPT, "forest"), hooks(), cache)
    assert resumed.lora == whole.lora and resumed.losses == whole.losses
    whole_pictures = first_step_without_masks(character_job(tmp_path / "c", sampler(2.0), PROMPT, "forest"))
    assert train_lora(model, whole_pictures, hooks(), cache).losses[0].loss != whole.losses[0].loss
    assert [sample.step for sample in whole.samples] == [0, 4] and all(one.path.exists() for one in whole.samples)
    facts = file_metadata(whole.lora)
    assert facts["modelspec.trigger_phrase"] == "forest" and facts["modelspec.architecture"] == "qwen-image/lora"
    assert any("lora_B" in name and bool(tensor.any()) for name, tensor in load(whole.lora).items())

    (tmp_path / "lora.safetensors").write_bytes(whole.lora)
    made = {}
    for weight in (0.0, 1.0):
        with open_generator(
            base_folder, "tiny", settings, ModelSetup(loras=(LoraFile(tmp_path / "lora.safetensors", weight),))
        ) as one:
            made[weight] = next(one.generate([GenerateJob("a", PROMPT, 7, sampler(2.0))])).image
    assert largest_difference(made[0.0], made[1.0]) > 1
    pipeline.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    assert largest_difference(drawn(pipeline, 2.0), made[1.0]) <= 1


def test_a_base_does_not_edit_and_an_editor_is_no_base(
    base_folder: Path, editor_folder: Path, settings: Settings
) -> None:
    with pytest.raises(InputError, match="cannot be used as an editor to train a LoRA on"):
        registry.find_edit_trainer(str(base_folder), settings)
    with pytest.raises(InputError, match="cannot be used as an image editor") as refused:
        registry.open_editor(str(base_folder), settings).__enter__()
    assert "QwenImageEditPlusPipeline" in refused.value.why and "QwenImagePipeline," not in refused.value.why
    with pytest.raises(InputError, match="cannot be used as an image generator"):
        registry.open_generator(str(editor_folder), settings).__enter__()
    assert registry.family_of(base_folder) is registry.family_of(editor_folder)
    idle = {"guidance": 3.5, "text_encoder_format": "nf4", "cuda_graphs": True}
    problems = option_problems(registry.family_of(base_folder), RECIPE.model_copy(update=idle))
    assert len(problems) == len(idle) and "no guidance embedding" in problems[0]


def test_its_stages_are_planned_ahead(base_folder: Path) -> None:
    plans = card_plans(base_folder, load_recipe("flux_character_24gb"), "base", CardRoom(23.5, multiplies_fp8=True))
    assert [plan.stage for plan in plans] == ["generate, benchmark", "train"]
    assert all(plan.predicted_gib is not None for plan in plans)
