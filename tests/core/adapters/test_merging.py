"""A LoRA in the weights of its base draws what the base with the LoRA draws, as a folder and as ComfyUI's single file."""

import inspect
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors import safe_open

from flenwheel_core.adapters.lora_file import lora_bytes
from flenwheel_core.adapters.merging import Weights
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.engine.tensor_file import read_tensors
from flenwheel_core.publishing.optimised import Form, write_merged
from flenwheel_core.recipes.train import LoraRecipe
from tests.kit.tiny_flux import tiny_inputs, tiny_transformer, trained


def base_folder(folder: Path) -> Path:
    """A FLUX folder: its transformer in two shards' worth of one file, and another part."""
    tiny_transformer().save_pretrained(folder / "transformer")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").write_text("{}")
    (folder / "vae" / "weights.safetensors").write_bytes(b"weights")
    return folder


def a_lora(dora: bool, base: Path) -> tuple[LoraRecord, bytes, torch.Tensor]:
    """Its record, its file, and what the base with it gives."""
    adapted = trained(LoraRecipe(rank=4, dora=dora))
    data = lora_bytes(adapted.parameters, adapted, {"modelspec.architecture": "flux-1-dev/lora"})
    with torch.no_grad():
        given = adapted.transformer(**tiny_inputs()).sample
    record = LoraRecord(
        digest="a" * 64, name="mira-v1", target="generator", base_model=str(base), trigger="ohwx", class_word="cat",
        rank=4, alpha=4.0, steps=1, images=1, dataset="b" * 64, request="c" * 64,
    )  # fmt: skip
    return record, data, given


def said(_: str) -> None:
    return


@pytest.mark.parametrize("dora", [False, True])
def test_the_merged_folder_is_a_model_that_draws_the_same(settings: Settings, tmp_path: Path, dora: bool) -> None:
    base = base_folder(tmp_path / "base")
    record, data, given = a_lora(dora, base)
    out = write_merged(record, data, "folder", tmp_path / "out", settings, said)
    assert json.loads((out / "model_index.json").read_text())["_class_name"] == "FluxPipeline"
    (out / "vae" / "config.json").write_text('{"edited": true}')
    assert (base / "vae" / "config.json").read_text() == "{}", "the base, such as the Hub's cache, stays as it was"
    assert (out / "vae" / "weights.safetensors").stat().st_nlink == 2, "weights lie on the disk once"
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    model = FluxTransformer2DModel.from_pretrained(out / "transformer", use_safetensors=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(**tiny_inputs()).sample, given, rtol=1e-4, atol=1e-4)
        plain = tiny_transformer()(**tiny_inputs()).sample
    assert (plain - given).abs().max() > 0.01, "and another thing than the bare base"
    with pytest.raises(InputError, match="there already"):
        write_merged(record, data, "folder", tmp_path / "out", settings, said)


def test_a_lora_is_merged_at_its_default_strength(settings: Settings, tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    record, data, _ = a_lora(False, base)
    weights = {
        strength: FluxTransformer2DModel.from_pretrained(
            write_merged(record, data, "folder", tmp_path / f"{strength}", settings, said, strength=strength)
            / "transformer"
        ).state_dict()
        for strength in (0.5, 1.0)
    }
    plain = tiny_transformer().state_dict()
    changed = [name for name in plain if not torch.equal(plain[name], weights[1.0][name])]
    assert changed
    for name in changed:
        torch.testing.assert_close(weights[0.5][name], (plain[name] + weights[1.0][name]) / 2, rtol=1e-4, atol=1e-5)


def test_the_single_file_is_read_by_diffusers_own_reader_of_that_layout(settings: Settings, tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    record, data, given = a_lora(False, base)
    out = write_merged(record, data, "bf16", tmp_path / "out", settings, said)
    with safe_open(out, framework="pt") as file:
        names = set(file.keys())
        assert json.loads(file.metadata()["flenwheel.merged"])["lora"] == "mira-v1"
    assert {"img_in.weight", "double_blocks.1.img_attn.qkv.weight", "single_blocks.2.linear1.bias"} <= names
    read = converted(out)
    with torch.no_grad():
        found = read(**tiny_inputs()).sample
    torch.testing.assert_close(found, given, rtol=0.1, atol=0.05)


def converted(path: Path) -> FluxTransformer2DModel:
    """The model in a single file, by diffusers' own conversion of this layout, which knows FLUX.1's width only: here it is 32."""
    from diffusers.loaders import single_file_utils

    source = inspect.getsource(single_file_utils.convert_flux_transformer_checkpoint_to_diffusers)
    assert "inner_dim = 3072" in source
    names: dict[str, Any] = dict(vars(single_file_utils))
    exec(source.replace("inner_dim = 3072", "inner_dim = 32"), names)
    tensors, _ = read_tensors(path)
    model = tiny_transformer(seed=9)
    state = names["convert_flux_transformer_checkpoint_to_diffusers"](
        {name: value.float() for name, value in tensors.items()}
    )
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize(("form", "most"), [("folder", 2), ("fp8", 4)])
def test_few_tensors_are_in_memory_at_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form, most: int
) -> None:
    """A folder's are written one by one while the next is made; a matrix of a single file is made of up to four."""
    base = base_folder(tmp_path / "base")
    record, data, _ = a_lora(False, base)
    made: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def seen(make: Callable[[Weights, str], torch.Tensor]) -> Callable[[Weights, str], torch.Tensor]:
        def made_and_counted(weights: Weights, name: str) -> torch.Tensor:
            tensor = make(weights, name)
            made.append(weakref.ref(tensor))
            alive.append(sum(one() is not None for one in made))
            return tensor

        return made_and_counted

    for method in ("tensor", "exact"):
        monkeypatch.setattr(Weights, method, seen(getattr(Weights, method)))
    write_merged(record, data, form, tmp_path / "out", settings, said)
    assert len(made) > 50 and max(alive) <= most


def test_fp8_keeps_what_a_small_lora_changed(settings: Settings, tmp_path: Path) -> None:
    """Without a scale, changes this small would be rounded away."""
    base = base_folder(tmp_path / "base")
    record, data, _ = a_lora(False, base)
    exact = read_tensors(write_merged(record, data, "bf16", tmp_path / "out", settings, said))[0]
    path = write_merged(record, data, "fp8", tmp_path / "out", settings, said)
    packed, _ = read_tensors(path)
    assert packed["scaled_fp8"].dtype == torch.float8_e4m3fn and set(exact) < set(packed)
    for name, wanted in exact.items():
        found = packed[name]
        if wanted.ndim != 2:
            assert found.dtype == torch.bfloat16 and torch.equal(found, wanted)
            continue
        scale = packed[name.removesuffix(".weight") + ".scale_weight"]
        assert found.dtype == torch.float8_e4m3fn and scale.shape == ()
        error = (found.float() * scale - wanted.float()).norm() / wanted.float().norm()
        assert error < 0.04, name
    assert path.stat().st_size < 0.75 * (tmp_path / "out" / "mira-v1.bf16.safetensors").stat().st_size


def test_a_lora_that_does_not_fit_is_refused(settings: Settings, tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    record, data, _ = a_lora(False, base)
    (base / "model_index.json").write_text(json.dumps({"_class_name": "ZImagePipeline"}))
    with pytest.raises(InputError, match="There is no single file of Z-Image"):
        write_merged(record, data, "fp8", tmp_path / "out", settings, said)
