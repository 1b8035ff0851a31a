"""Pictures are the pipeline's own, LoRAs are worn, and what does not fit is refused before anything loads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import ZImagePipeline

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.errors import InputError, ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.protocols import GenerateJob, ModelSetup
from flenwheel_core.models.z_image.encoding import encode_prompts
from flenwheel_core.models.z_image.generator import ZImageGenerator, open_generator
from flenwheel_core.models.z_image.loading import ZImageModel
from flenwheel_core.models.z_image.memory import card_plans, drawing_memory
from flenwheel_core.models.z_image.names import linear_shapes_of
from flenwheel_core.recipes.loading import load_recipe
from tests.kit.character_runs import largest_difference
from tests.kit.tiny_z_image import CONFIG

PROMPT = "photo of ohwx person, smiling"


def sampler(true_cfg: float = 1.0) -> Sampler:
    return Sampler(steps=3, guidance=1.0, true_cfg=true_cfg, width=96, height=64)


@pytest.mark.parametrize("true_cfg", [1.0, 4.0])
def test_a_picture_is_the_pipelines_own(
    pipeline: ZImagePipeline, z_image_folder: Path, settings: Settings, true_cfg: float
) -> None:
    expected = pipeline(
        PROMPT,
        height=64,
        width=96,
        num_inference_steps=3,
        guidance_scale=true_cfg - 1,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    with open_generator(z_image_folder, "tiny", settings) as generator:
        (made,) = generator.generate([GenerateJob("a", PROMPT, 7, sampler(true_cfg))])
        (again,) = generator.generate([GenerateJob("b", PROMPT, 7, sampler(true_cfg))])
    assert largest_difference(made.image, expected) <= 1 and np.asarray(expected).std() > 3
    assert made.image.tobytes() == again.image.tobytes()


def test_prompts_are_the_pipelines_and_are_kept(
    model: ZImageModel, pipeline: ZImagePipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = TensorCache(tmp_path / "cache")
    made = encode_prompts(model, [PROMPT, "", PROMPT], cache=cache)
    for text, hidden in made.items():
        assert torch.equal(hidden, pipeline.encode_prompt([text], do_classifier_free_guidance=False)[0][0])
    assert len(made[PROMPT]) > len(made[""]) > 0
    monkeypatch.setattr(ZImageModel, "text_encoder", None)
    assert torch.equal(encode_prompts(model, [PROMPT], cache=cache)[PROMPT], made[PROMPT])


def test_a_lora_is_worn_also_one_whose_q_k_and_v_are_one(
    z_image_folder: Path, settings: Settings, tmp_path: Path
) -> None:
    width = CONFIG["dim"]
    generator = torch.Generator().manual_seed(1)
    change = {"A": torch.randn(2, width, generator=generator), "B": torch.randn(3 * width, 2, generator=generator)}
    fused = {f"diffusion_model.layers.0.attention.qkv.lora_{key}.weight": value for key, value in change.items()}
    parts = {
        f"transformer.layers.0.attention.to_{name}.lora_{key}.weight": value if key == "A" else value.chunk(3)[place]
        for place, name in enumerate("qkv")
        for key, value in change.items()
    }
    made = []
    for number, tensors in enumerate((fused, parts, None)):
        loras: tuple[LoraFile, ...] = ()
        if tensors is not None:
            path = tmp_path / f"{number}.safetensors"
            path.write_bytes(tensor_bytes({name: tensor.contiguous() for name, tensor in tensors.items()}))
            loras = (LoraFile(path, 1.0),)
        with open_generator(z_image_folder, "tiny", settings, ModelSetup(loras=loras)) as opened:
            made.append(next(opened.generate([GenerateJob("a", PROMPT, 7, sampler())])).image)
    assert largest_difference(made[0], made[1]) <= 1 and largest_difference(made[0], made[2]) > 1


def test_a_lora_that_does_not_fit_is_refused_before_anything_loads(model: ZImageModel, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(tensor_bytes({"nothing.lora_A.weight": torch.zeros(2, 2)}))
    with pytest.raises(InputError, match=r"x\.safetensors cannot be used"):
        ZImageGenerator(model, TensorCache(tmp_path), ModelSetup(loras=(LoraFile(tmp_path / "x.safetensors", 1.0),)))


def test_a_card_without_room_is_refused_in_words(z_image_folder: Path) -> None:
    room = CardRoom(23.5, multiplies_fp8=True)
    assert drawing_memory(z_image_folder, pixels=1024 * 1024, adapter_weights=0, card=room).storage == "dense"
    small = CardRoom(0.01, multiplies_fp8=True)
    with pytest.raises(ResourceError, match="Z-Image needs"):
        drawing_memory(z_image_folder, pixels=1024 * 1024, adapter_weights=0, card=small)
    plans = card_plans(z_image_folder, load_recipe("flux_character_24gb"), "base", small)
    assert [plan.predicted_gib for plan in plans] == [None, None] and "does not fit" in plans[0].text
    assert all(plan.predicted_gib for plan in card_plans(z_image_folder, load_recipe("nano"), "base", room))


def test_the_linears_of_a_folder_are_known_without_loading() -> None:
    shapes = linear_shapes_of(CONFIG)
    assert shapes["layers.1.feed_forward.w1"] == (85, 32) and shapes["context_refiner.0.attention.to_q"] == (32, 32)
