"""The editor: the same picture for the same job in any company, one load of each model, LoRAs with weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image
from safetensors.torch import save_file

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.lora_wearing import wear
from flenwheel_core.base.errors import InputError, ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.protocols import EditJob, ModelSetup
from flenwheel_core.models.qwen_image import loading
from flenwheel_core.models.qwen_image import painter as painter_module
from flenwheel_core.models.qwen_image.conditioning import log_shift
from flenwheel_core.models.qwen_image.drawing import few_step_scheduler
from flenwheel_core.models.qwen_image.editor import open_editor
from flenwheel_core.models.qwen_image.fast_drawing import load_fast
from flenwheel_core.models.qwen_image.fit import check_memory, choose_storage
from flenwheel_core.models.qwen_image.loading import QwenEditModel, check_machine, find_model
from flenwheel_core.models.qwen_image.lora_host import read_editor_loras
from flenwheel_core.transformer.plan import FastPlan
from tests.kit.tiny_editor import picture

SQUARE = picture(96, 96)
WIDE = picture(150, 90, seed=1)


def job(
    key: str, image: Image.Image = SQUARE, prompt: str = "smiling", seed: int = 1, true_cfg: float = 1.0
) -> EditJob:
    return EditJob(key, prompt, seed, Sampler(steps=2, true_cfg=true_cfg, width=96, height=96), (image,))


def made(
    folder: Path, settings: Settings, jobs: list[EditJob], loras: tuple[LoraFile, ...] = ()
) -> dict[str, np.ndarray]:
    with open_editor(folder, "tiny", settings, ModelSetup(loras=loras)) as editor:
        return {result.key: np.asarray(result.image) for result in editor.edit(jobs)}


def test_a_job_gives_the_same_picture_alone_and_in_company(editor_folder: Path, settings: Settings) -> None:
    jobs = [job("a"), job("b", WIDE), job("c", seed=2), job("d", true_cfg=4.0), job("e", WIDE, "sad")]
    together = made(editor_folder, settings, jobs)
    assert list(together) == ["a", "c", "d", "b", "e"]
    assert together["a"].shape == (96, 96, 3) and together["b"].shape == (64, 128, 3)
    alone = made(editor_folder, settings, [jobs[3]])
    np.testing.assert_array_equal(alone["d"], together["d"])
    for other in ("c", "d"):
        assert (together["a"] != together[other]).any()


def test_prompt_and_source_matter(editor_folder: Path, settings: Settings) -> None:
    pictures = made(
        editor_folder, settings, [job("a"), job("prompt", prompt="sunset lighting"), job("source", picture(96, 96, 3))]
    )
    assert (pictures["a"] != pictures["prompt"]).any() and (pictures["a"] != pictures["source"]).any()


def test_each_model_is_loaded_once_and_the_encoder_not_again_for_known_prompts(
    editor_folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    original = QwenEditModel._load

    def counted(self: QwenEditModel, kind: object, part: str, dtype_name: str) -> object:
        loads.append(part)
        return original(self, kind, part, dtype_name)

    monkeypatch.setattr(QwenEditModel, "_load", counted)
    jobs = [job("a"), job("b", WIDE), job("c", seed=2)]
    first = made(editor_folder, settings, jobs)
    assert loads == ["text_encoder", "transformer"]
    again = made(editor_folder, settings, jobs)
    assert loads == ["text_encoder", "transformer", "transformer"]
    np.testing.assert_array_equal(first["a"], again["a"])
    made(editor_folder, settings, [job("a", picture(96, 96, 9))])
    assert loads[3:] == ["text_encoder", "transformer"], "another picture under the same prompt must be encoded anew"


@pytest.fixture
def lora(tmp_path: Path) -> Callable[[int], Path]:
    def write(seed: int) -> Path:
        generator = torch.Generator().manual_seed(seed)
        name = "transformer.transformer_blocks.0.attn.to_q"
        weights = {
            f"{name}.lora_A.weight": torch.randn(4, 160, generator=generator),
            f"{name}.lora_B.weight": torch.randn(160, 4, generator=generator),
        }
        path = tmp_path / f"{seed}.safetensors"
        save_file(weights, path)
        return path

    return write


def test_several_loras_with_weights(editor_folder: Path, settings: Settings, lora: Callable[[int], Path]) -> None:
    one, two = lora(1), lora(2)

    def drawn(*weights: float) -> np.ndarray:
        files = tuple(LoraFile(path, weight) for path, weight in zip((one, two), weights, strict=False))
        return made(editor_folder, settings, [job("a")], files)["a"]

    plain = drawn()
    np.testing.assert_array_equal(plain, drawn(0.0, 0.0))
    assert (plain != drawn(1.0)).any() and (drawn(1.0) != drawn(1.0, 1.0)).any() and (drawn(1.0) != drawn(0.5)).any()
    np.testing.assert_array_equal(drawn(1.0), drawn(1.0, 0.0))


def test_a_lora_of_another_model_is_refused_before_anything_loads(
    editor_folder: Path, settings: Settings, tmp_path: Path
) -> None:
    save_file({"transformer.nothing.lora_A.weight": torch.zeros(4, 8)}, tmp_path / "wrong.safetensors")
    files = (LoraFile(tmp_path / "wrong.safetensors", 1.0),)
    with (
        pytest.raises(InputError, match=r"wrong\.safetensors"),
        open_editor(editor_folder, "tiny", settings, ModelSetup(loras=files)),
    ):
        pass


def test_phases_are_measured(editor_folder: Path, settings: Settings) -> None:
    with open_editor(editor_folder, "tiny", settings) as editor:
        assert len(list(editor.edit([job("a")]))) == 1
        assert [phase.name for phase in editor.phases] == ["prompts", "pictures", "loading", "edits"]


def test_storage_is_the_most_exact_that_fits() -> None:
    sizes = {"transformer": 38.0, "text_encoder": 15.5}
    assert choose_storage(sizes, 80) == "bf16"
    assert choose_storage(sizes, 24) == "nf4"
    assert choose_storage(sizes, 24, "int8") == "int8"
    with pytest.raises(ResourceError, match="12 GiB may be used"):
        choose_storage(sizes, 12)
    with pytest.raises(ResourceError, match="bf16"):
        choose_storage(sizes, 24, "bf16")
    drawing = ("bf16", "fp8", "nf4")
    assert [choose_storage(sizes, card, order=drawing) for card in (80, 24, 16)] == ["bf16", "fp8", "nf4"]


def test_too_little_memory_is_refused_before_anything_loads(
    editor_folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_memory(9, 10)
    with pytest.raises(ResourceError, match="9 GiB of memory, and 8 GiB are free"):
        check_memory(9, 8)
    model = find_model(editor_folder, "tiny", settings)
    check_machine(model)
    monkeypatch.setattr(loading, "free_memory_gib", lambda: 0.0)
    with pytest.raises(ResourceError, match="0 GiB are free"):
        check_machine(model)


@torch.no_grad()
def test_the_fast_transformer_wears_loras_as_diffusers_does(
    editor_folder: Path, settings: Settings, lora: Callable[[int], Path]
) -> None:
    model = find_model(editor_folder, "tiny", settings)
    worn = read_editor_loras([LoraFile(lora(1), 0.7), LoraFile(lora(2), 1.3)], editor_folder)
    fast = load_fast(model, FastPlan(compile=False, cudnn=False, compact=False), worn)
    slow = model.load_transformer()
    wear(slow, worn)
    assert fast is not None
    width = int(slow.config["joint_attention_dim"])
    inputs = {
        "hidden_states": torch.randn(1, 48, 64),
        "timestep": torch.tensor([0.4]),
        "encoder_hidden_states": torch.randn(1, 9, width),
        "img_shapes": [[(1, 4, 6), (1, 6, 4)]],
    }
    torch.testing.assert_close(fast(**inputs)[0], slow(**inputs, return_dict=False)[0], rtol=1e-4, atol=1e-4)


def test_the_log_says_which_kernels_run(
    editor_folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = FastPlan(compile=False, cudnn=False, compact=False)
    monkeypatch.setattr(painter_module, "fast_plan", lambda model: plan)  # as on a card
    notes: list[str] = []
    with open_editor(editor_folder, "tiny", settings, setup=ModelSetup(note=notes.append)) as editor:
        list(editor.edit([job("a")]))
    assert "kernels: none, PyTorch computes everything (needs an NVIDIA card)" in notes


def test_loras_elsewhere_are_left_to_diffusers(editor_folder: Path, settings: Settings, tmp_path: Path) -> None:
    weights = {
        f"transformer.img_in.lora_{part}.weight": torch.zeros(shape)
        for part, shape in (("A", (4, 64)), ("B", (160, 4)))
    }
    save_file(weights, tmp_path / "img_in.safetensors")
    model = find_model(editor_folder, "tiny", settings)
    plan = FastPlan(compile=False, cudnn=False)
    worn = read_editor_loras([LoraFile(tmp_path / "img_in.safetensors", 1.0)], editor_folder)
    assert list(worn[0].modules) == ["img_in"] and load_fast(model, plan, worn) is None


def test_few_steps_take_the_schedule_they_were_distilled_with() -> None:
    own = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192}
    model = FlowMatchEulerDiscreteScheduler(**own, shift_terminal=0.02)
    few = few_step_scheduler(model, 3.0)
    for tokens in (256, 4096, 8192):
        few.set_timesteps(sigmas=np.linspace(1.0, 1 / 4, 4), mu=log_shift(few, tokens))
        expected = [3 * sigma / (1 + 2 * sigma) for sigma in (1.0, 0.75, 0.5, 0.25)]
        torch.testing.assert_close(few.sigmas, torch.tensor([*expected, 0.0]))
    assert model.config.shift_terminal == 0.02 and model.config.base_shift == 0.5


def test_a_fixed_shift_gives_another_picture(editor_folder: Path, settings: Settings) -> None:
    plain = made(editor_folder, settings, [job("a")])["a"]
    assert (plain != made(editor_folder, settings, [replace(job("a"), shift=8.0)])["a"]).any()
