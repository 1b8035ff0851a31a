"""A LoRA file loads in diffusers and under BFL's names, and draws the same either way."""

from pathlib import Path

import pytest
import torch
from diffusers import Flux2KleinPipeline

from flenwheel_core.adapters.lora_file import LoraFile, lora_bytes, ui_facts
from flenwheel_core.adapters.lora_header import stated_family
from flenwheel_core.adapters.lora_reading import read_loras
from flenwheel_core.adapters.lora_wearing import wear
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.base.errors import InputError
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.models.flux2.adapter import load_with_loras
from flenwheel_core.models.flux2.bfl_layout import to_bfl
from flenwheel_core.models.flux2.family import FAMILY
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.lora_host import flux2_host
from flenwheel_core.models.flux2.names import UI_NAMES
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.transformer.plan import FastPlan
from tests.kit.tiny_klein import tiny_inputs, tiny_transformer, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("klein")
    tiny_transformer().save_pretrained(place / "transformer")
    return place


def written(folder: Path, adapted: AdaptedTransformer) -> LoraFile:
    facts = ui_facts(UI_NAMES, name="a-v1", trigger="ohwx", base="x", rank=4, steps=9, resolution=64, images=3)
    path = folder / "lora.safetensors"
    path.write_bytes(lora_bytes(adapted.parameters, adapted, facts))
    return LoraFile(path, 1.0)


def drawn(model: torch.nn.Module) -> torch.Tensor:
    output: torch.Tensor = model(**tiny_inputs(), return_dict=False)[0]
    return output.detach()


def test_the_file_loads_in_diffusers_and_draws_the_same(tmp_path: Path) -> None:
    adapted = trained(LoraRecipe(rank=4, alpha=2.0, block_ranks={"single:1": 6}))
    file = written(tmp_path, adapted)
    fresh = tiny_transformer()
    fresh.load_lora_adapter(str(file.path), prefix="transformer")
    torch.testing.assert_close(drawn(fresh), drawn(adapted.transformer), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(drawn(tiny_transformer()), drawn(adapted.transformer), atol=1e-3)


def test_the_file_says_what_it_is_for(tmp_path: Path) -> None:
    _, metadata = read_tensors(written(tmp_path, trained(LoraRecipe(rank=4))).path)
    assert stated_family(metadata) == FAMILY.name
    assert metadata["modelspec.architecture"] in FAMILY.architectures


@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": 8.0, "block_ranks": {"single:1": 6, "double:0": 2}},
        {"dora": True},
        {"targets": ["modulation", "embedders"]},
        {"include": ["proj_out", "transformer_blocks.1.ff.linear_out", "*.add_q_proj", "*.to_v"]},
    ],
)
def test_a_lora_is_worn_as_it_was_trained_under_either_name(
    folder: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    adapted = trained(LoraRecipe.model_validate({"rank": 4, **changes}))
    ours, theirs = written(tmp_path, adapted), LoraFile(tmp_path / "bfl.safetensors", 1.0)
    theirs.path.write_bytes(to_bfl(ours.path.read_bytes()))
    tensors, metadata = read_tensors(theirs.path)
    assert all(name.startswith("diffusion_model.") and "transformer_blocks" not in name for name in tensors)
    assert any(name.endswith(".dora_scale") for name in tensors) == bool(changes.get("dora"))
    assert metadata["modelspec.title"] == "a-v1"
    for file in (ours, theirs):
        fresh = tiny_transformer()
        wear(fresh, read_loras([file], flux2_host(folder)))
        torch.testing.assert_close(drawn(fresh), drawn(adapted.transformer), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "changes", [{}, {"exclude": ["*.to_k", "*.add_v_proj"]}, {"targets": ["modulation", "embedders"]}]
)
def test_diffusers_own_converter_reads_the_file_of_bfls_names(tmp_path: Path, changes: dict[str, object]) -> None:
    adapted = trained(LoraRecipe.model_validate({"rank": 4, "alpha": 8.0, **changes}))
    (tmp_path / "bfl.safetensors").write_bytes(to_bfl(written(tmp_path, adapted).path.read_bytes()))
    converted = Flux2KleinPipeline.lora_state_dict(str(tmp_path / "bfl.safetensors"))
    fresh = tiny_transformer()
    fresh.load_lora_adapter(converted, prefix="transformer")
    torch.testing.assert_close(drawn(fresh), drawn(adapted.transformer), atol=1e-5, rtol=1e-4)


def test_names_of_kohyas_kind_are_known(folder: Path, tmp_path: Path) -> None:
    shapes = {"down": (2, 32), "up": (96, 2)}
    tensors = {
        f"lora_unet_double_blocks_1_txt_attn_qkv.lora_{part}.weight": torch.randn(shape)
        for part, shape in shapes.items()
    }
    path = tmp_path / "kohya.safetensors"
    path.write_bytes(tensor_bytes(tensors | {"lora_unet_double_blocks_1_txt_attn_qkv.alpha": torch.tensor(1.0)}))
    (worn,) = read_loras([LoraFile(path, 1.0)], flux2_host(folder))
    assert sorted(worn.modules) == [f"transformer_blocks.1.attn.add_{part}_proj" for part in "kqv"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dora": True, "include": ["*.to_q"]}, "only a part of it has magnitudes"),
        ({"include": ["norm_out.linear"]}, r"norm_out\.linear has no name there"),
    ],
)
def test_what_bfls_layout_cannot_hold_is_said(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    adapted = trained(LoraRecipe.model_validate({"rank": 4, **changes}))
    with pytest.raises(InputError, match=said):
        to_bfl(written(tmp_path, adapted).path.read_bytes())


def test_several_loras_on_quantised_weights_are_one_of_their_summed_rank(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [
        written(tmp_path, trained(LoraRecipe(rank=4))),
        written(tmp_path / "other", trained(LoraRecipe(rank=2, include=("*.ff.linear_in",)))),
    ]
    worn = read_loras(files, flux2_host(folder))
    expected = tiny_transformer()
    wear(expected, worn)
    model = Flux2Model(folder, "tiny", torch.device("cpu"), torch.float32)
    dense = load_with_loras(model, FastPlan(compile=False, cudnn=False), worn)
    torch.testing.assert_close(drawn(dense.transformer), drawn(expected), atol=2e-5, rtol=1e-4)


def test_a_dora_is_refused_before_quantised_weights_load(folder: Path, tmp_path: Path) -> None:
    worn = read_loras([written(tmp_path, trained(LoraRecipe(rank=4, dora=True)))], flux2_host(folder))
    model = Flux2Model(folder, "tiny", torch.device("cpu"), torch.float32)
    with pytest.raises(InputError, match="is a DoRA"):
        load_with_loras(model, FastPlan(storage="nf4"), worn)
