"""The trainer on a card, from pictures to a LoRA file, at nano size."""

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.errors import OutOfMemoryError
from flenwheel_core.documents.storages import TextFormat
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.tensor_file import read_tensors
from flenwheel_core.models.flux1.encoding import encode_captions
from flenwheel_core.models.flux1.generator import FluxGenerator
from flenwheel_core.models.flux1.memory import plan_training
from flenwheel_core.models.protocols import GenerateJob, ModelSetup
from tests.kit.gpu_world import SAMPLER, card_model, finished, interrupt, job, start, train

EAGER: dict[str, object] = {"compile": False}
GIB = 2**30


def weights(data: bytes, folder: Path) -> torch.Tensor:
    file = folder / "read.safetensors"
    file.write_bytes(data)
    tensors, _ = read_tensors(file)
    return torch.cat([tensors[name].float().flatten() for name in sorted(tensors)])


def test_compiled_and_recorded_from_pictures_to_a_lora_that_draws_what_training_drew(tmp_path: Path) -> None:
    notes: list[str] = []
    changes: dict[str, object] = {"steps": 120, "sampling": {"every_steps": 60, "prompts": 1}, "weight_format": "bf16"}
    trained = train(tmp_path, changes, notes=notes)
    assert any(note.startswith("memory plan: dense weights") for note in notes)
    assert not any("without CUDA graphs" in note for note in notes)
    losses = [point.loss for point in trained.losses]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:2])
    lora = tmp_path / "lora.safetensors"
    lora.write_bytes(trained.lora)
    last = trained.samples[-1]
    notes: list[str] = []
    setup = ModelSetup(loras=(LoraFile(lora, 1.0),), note=notes.append)
    generator = FluxGenerator(card_model(100.0), TensorCache(tmp_path / "cache"), setup)
    (made,) = generator.generate([GenerateJob("a", last.prompt, last.seed, SAMPLER)])
    assert any(note.startswith("kernels: ") for note in notes)
    drawn = np.asarray(Image.open(last.path).convert("RGB"), dtype=float)
    assert (
        np.abs(drawn - np.asarray(made.image, dtype=float)).mean() < 4
    )  # grey levels of 255; bf16 through other kernels


@pytest.mark.parametrize("storage", ["fp8", "nf4", "bf16"])
def test_every_weight_format_learns_the_same_curve(tmp_path: Path, storage: str) -> None:
    changes: dict[str, object] = {"steps": 80, **EAGER}
    reference = train(tmp_path / "bf16", {**changes, "weight_format": "bf16"})
    got = train(tmp_path / storage, {**changes, "weight_format": storage})
    one, other = ([point.loss for point in run.losses] for run in (reference, got))
    # Four bits change what so small a base predicts: its curve lies higher, and falls in the same way.
    assert np.allclose(one, other, rtol=0.25 if storage == "nf4" else 0.1)


def test_recorded_steps_learn_what_plain_steps_learn(tmp_path: Path) -> None:
    notes: list[str] = []
    fast = train(tmp_path / "fast", {"gradient_accumulation": 2, "weight_format": "fp8"}, notes=notes)
    assert any(note.startswith("memory plan: fp8 weights") for note in notes)
    assert any(note.startswith("kernels: quantise, transpose, add") for note in notes)
    assert not any("without CUDA graphs" in note for note in notes)
    plain = train(tmp_path / "plain", {"gradient_accumulation": 2, "weight_format": "fp8", **EAGER})
    assert np.allclose([p.loss for p in fast.losses], [p.loss for p in plain.losses], rtol=0.03)


def test_deterministic_runs_end_in_the_same_bytes_however_often_they_are_killed(tmp_path: Path) -> None:
    changes: dict[str, object] = {"deterministic": True, "caption_dropout": 0.1}
    whole, _ = finished(tmp_path / "whole", changes)
    code, _ = interrupt(tmp_path / "broken", changes, signal.SIGKILL, after_step=20)
    assert code == -signal.SIGKILL
    code, _ = interrupt(tmp_path / "broken", changes, signal.SIGTERM, after_step=40)
    assert code == 203
    resumed, _ = finished(tmp_path / "broken", changes)
    assert resumed == whole


def test_other_runs_resume_within_a_tolerance(tmp_path: Path) -> None:
    whole, losses = finished(tmp_path / "whole", {})
    code, _ = interrupt(tmp_path / "broken", {}, signal.SIGKILL, after_step=30)
    assert code == -signal.SIGKILL
    resumed, resumed_losses = finished(tmp_path / "broken", {})
    assert np.allclose(losses, resumed_losses, rtol=0.02)
    one, other = weights(whole, tmp_path), weights(resumed, tmp_path)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.98


def test_a_pause_saves_and_frees_the_card_within_a_step(tmp_path: Path) -> None:
    changes: dict[str, object] = {"steps": 100_000, **EAGER}
    code, seconds = interrupt(tmp_path, changes, signal.SIGTERM, after_step=20)
    assert code == 203
    assert seconds < 5  # one step, the save, and the interpreter going down; the card is free when the process is gone
    assert list((tmp_path / "checkpoints").glob("step-*.safetensors"))
    assert start(tmp_path, {**changes, "steps": 30}).wait() == 0


@pytest.mark.parametrize("storage", ["int8", "nf4"])
def test_text_encoders_can_be_quantised(tmp_path: Path, storage: TextFormat) -> None:
    texts = ["photo of ohwx_char person, smiling", "a person in a park"]
    exact = encode_captions(card_model(), texts, tokens=64, cache=TensorCache(tmp_path / "exact"))
    small = encode_captions(card_model(), texts, tokens=64, cache=TensorCache(tmp_path / "small"), storage=storage)
    for text in texts:
        one, other = exact[text].sequence.float().flatten(), small[text].sequence.float().flatten()
        assert 0.9 < torch.nn.functional.cosine_similarity(one, other, dim=0) < 0.999999  # near, and not the same
        assert torch.equal(exact[text].pooled, small[text].pooled)


def peak_gib(folder: Path, changes: dict[str, object], budget: float, level: int) -> float:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    train(folder, changes, model=card_model(budget), memory_level=level)
    return torch.cuda.max_memory_reserved() / GIB


def test_out_of_memory_is_told_and_the_tighter_plan_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    changes: dict[str, object] = {
        "steps": 4, "warmup_steps": 1, "checkpoint_every": 2, "log_every": 1, "resolution": 256, "batch_size": 64,
        "weight_format": "bf16", "prior": {"method": "off"}, **EAGER,
    }  # fmt: skip
    recipe = job(tmp_path, changes).recipe
    budget = next(
        gib / 20
        for gib in range(20, 2000)
        if _recomputed(card_model(gib / 20), recipe, 0) == 0 and _recomputed(card_model(gib / 20), recipe, 1) > 0
    )
    loose, tight = (peak_gib(tmp_path / f"level{level}", changes, budget, level) for level in (0, 1))
    assert tight < loose - 0.05
    total = torch.cuda.get_device_properties(0).total_memory / GIB
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((loose + tight) / 2 / total)
    try:
        with pytest.raises(OutOfMemoryError, match="ran out of memory"):
            train(tmp_path / "capped", changes, model=card_model(budget))
        torch.cuda.empty_cache()
        trained = train(tmp_path / "capped", changes, model=card_model(budget), memory_level=1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert [point.step for point in trained.losses] == [1, 2, 3, 4]


def _recomputed(model: object, recipe: object, level: int) -> int:
    from flenwheel_core.base.errors import ResourceError

    try:
        chosen = plan_training(model, recipe, tighter=level)  # type: ignore[arg-type]
    except ResourceError:
        return -1
    assert chosen is not None
    return sum(chosen.plan.recompute)
