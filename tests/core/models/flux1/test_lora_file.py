import json
from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers

from flenwheel_core.adapters.lora_file import file_dtype, lora_bytes, ui_facts
from flenwheel_core.engine.tensor_file import read_tensors
from flenwheel_core.models.flux1.adapter import UI_NAMES
from flenwheel_core.models.flux1.bfl_layout import kohya_tensors
from flenwheel_core.recipes.train import LoraRecipe
from tests.kit.tiny_flux import tiny_inputs, tiny_transformer, trained


def test_the_file_loads_in_diffusers_and_draws_the_same(tmp_path: Path) -> None:
    adapted = trained(LoraRecipe(rank=4, alpha=2.0, block_ranks={"single:1": 6}))
    facts = ui_facts(UI_NAMES, name="a-v1", trigger="ohwx", base="x", rank=4, steps=9, resolution=64, images=3)
    path = tmp_path / "lora.safetensors"
    path.write_bytes(lora_bytes(adapted.parameters, adapted, facts))
    assert lora_bytes(adapted.parameters, adapted, facts) == path.read_bytes()

    tensors, metadata = read_tensors(path)
    assert metadata["modelspec.trigger_phrase"] == "ohwx" and metadata["ss_network_dim"] == "4"
    assert json.loads(metadata["lora_adapter_metadata"])["transformer.r"] == 4
    fresh = tiny_transformer()
    fresh.load_lora_adapter(str(path), prefix="transformer")
    expected = adapted.transformer(**tiny_inputs(), return_dict=False)[0]
    torch.testing.assert_close(fresh(**tiny_inputs(), return_dict=False)[0], expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(tiny_transformer()(**tiny_inputs(), return_dict=False)[0], expected, atol=1e-3)
    assert all(name.startswith("transformer.") for name in tensors)


def test_a_recipe_may_keep_its_file_in_bf16_at_half_the_size(tmp_path: Path) -> None:
    recipe = LoraRecipe(rank=4, blocks=("single_late",), file_format="bf16")
    adapted = trained(recipe)
    assert file_dtype(LoraRecipe()) is torch.float32
    path = tmp_path / "lora.safetensors"
    path.write_bytes(lora_bytes(adapted.parameters, adapted, {}, dtype=file_dtype(recipe)))
    tensors, _ = read_tensors(path)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    fresh = tiny_transformer()
    fresh.load_lora_adapter(str(path), prefix="transformer")
    expected = adapted.transformer(**tiny_inputs(), return_dict=False)[0]
    torch.testing.assert_close(fresh(**tiny_inputs(), return_dict=False)[0], expected, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    "changes",
    [{"rslora": True, "alpha": 6.0}, {"dora": True, "alpha": 8.0}, {"dora": True, "rslora": True}, {"dropout": 0.3}],
)
def test_every_kind_of_adapter_trains_and_its_file_draws_the_same(changes: dict[str, object], tmp_path: Path) -> None:
    adapted = trained(LoraRecipe.model_validate({"rank": 4, "exclude": ("*.proj_mlp",), **changes}))
    adapted.transformer.train()
    adapted.transformer(**tiny_inputs(), return_dict=False)[0].square().mean().backward()
    missing = [name for name, parameter in adapted.parameters.items() if parameter.grad is None]
    assert missing == [] and any("magnitude" in name for name in adapted.parameters) == bool(changes.get("dora"))
    adapted.transformer.eval()
    path = tmp_path / "lora.safetensors"
    path.write_bytes(lora_bytes(adapted.parameters, adapted, {}))
    fresh = tiny_transformer()
    fresh.load_lora_adapter(str(path), prefix="transformer")
    expected = adapted.transformer(**tiny_inputs(), return_dict=False)[0]
    torch.testing.assert_close(fresh(**tiny_inputs(), return_dict=False)[0], expected, atol=1e-5, rtol=1e-4)


def deltas(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    downs = {name.removesuffix(".lora_A.weight"): tensor for name, tensor in tensors.items() if ".lora_A." in name}
    return {name: tensors[f"{name}.lora_B.weight"] @ down for name, down in downs.items()}


WIDTHS = {
    **{f"transformer_blocks.0.{n}": 3072 for n in ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "ff.net.2")},
    **{f"transformer_blocks.0.attn.add_{n}_proj": 3072 for n in "qkv"},
    "transformer_blocks.0.attn.to_add_out": 3072,
    "transformer_blocks.0.ff.net.0.proj": 12288,
    "transformer_blocks.0.ff_context.net.0.proj": 12288,
    "transformer_blocks.0.ff_context.net.2": 3072,
    **{f"single_transformer_blocks.0.attn.to_{n}": 3072 for n in "qkv"},
    "single_transformer_blocks.0.proj_mlp": 12288,
    "single_transformer_blocks.0.proj_out": 3072,
}
"""Outputs of a block's linears at FLUX.1's real width, which the converter assumes."""


def test_the_bfl_layout_converts_back_by_diffusers_own_converter() -> None:
    names = [name for name in WIDTHS if not name.endswith("to_k")]
    scales = dict.fromkeys(names, 1.0) | {name: 0.5 for name in names if name.endswith("to_v")}
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name in names:
        weights[f"{name}.lora_A.default.weight"] = torch.randn(2, 5, generator=generator)
        weights[f"{name}.lora_B.default.weight"] = torch.randn(WIDTHS[name], 2, generator=generator)
    kohya = kohya_tensors(weights, scales, WIDTHS)
    assert kohya["lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight"].shape == (3 * 3072, 4)
    assert kohya["lora_unet_single_blocks_0_linear1.lora_up.weight"].shape == (3 * 3072 + 12288, 6)

    converted = _convert_kohya_flux_lora_to_diffusers(kohya)
    back = deltas({name.removeprefix("transformer."): tensor for name, tensor in converted.items()})
    for name in names:
        expected = scales[name] * weights[f"{name}.lora_B.default.weight"] @ weights[f"{name}.lora_A.default.weight"]
        torch.testing.assert_close(back.pop(name), expected, atol=1e-5, rtol=1e-4)
    assert all(not delta.any() for delta in back.values())  # the parts without adapter came back as zeros
