from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flenwheel_core.adapters.lora_file import LoraFile, lora_bytes
from flenwheel_core.adapters.lora_reading import read_loras
from flenwheel_core.adapters.lora_wearing import wear, wear_for_good
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.base.errors import InputError
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.tensor_file import read_tensors, tensor_bytes
from flenwheel_core.models.flux1.adapter import load_with_loras, put_on, require_fast
from flenwheel_core.models.flux1.generator import FluxGenerator
from flenwheel_core.models.flux1.kohya import to_kohya
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.lora_host import flux_host
from flenwheel_core.models.protocols import ModelSetup
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.transformer.plan import FastPlan
from tests.kit.tiny_flux import tiny_inputs, tiny_transformer, trained

PLAN = FastPlan(compile=False, cudnn=False)


def write_lora(path: Path, seed: int) -> LoraFile:
    adapted = put_on(tiny_transformer(), LoraRecipe(rank=3, alpha=6.0), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.parameters.items():
            if "lora_B" in name:
                parameter.normal_(generator=generator, std=0.1)
    path.write_bytes(lora_bytes(adapted.parameters, adapted, {}))
    return LoraFile(path, 0.7)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_several_loras_at_their_weights_draw_as_diffusers_draws(tmp_path: Path) -> None:
    tiny_transformer().save_pretrained(tmp_path / "model" / "transformer")
    model = FluxModel(tmp_path / "model", "tiny", torch.device("cpu"), torch.float32)
    loras = [write_lora(tmp_path / "a.safetensors", 1), write_lora(tmp_path / "b.safetensors", 2)]

    expected = tiny_transformer()
    for index, lora in enumerate(loras):
        expected.load_lora_adapter(str(lora.path), prefix="transformer", adapter_name=f"lora{index}")
    expected.set_adapters(["lora0", "lora1"], [0.7, 0.7])
    worn = read_loras(loras, flux_host(model.folder))
    adapted = load_with_loras(model, PLAN, worn)
    got = adapted.transformer(**tiny_inputs())[0]
    torch.testing.assert_close(got, expected(**tiny_inputs(), return_dict=False)[0], atol=2e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    tiny_transformer().save_pretrained(place / "transformer")
    return place


def written(folder: Path, adapted: AdaptedTransformer) -> LoraFile:
    """The file of a trained LoRA, in the names of training."""
    path = folder / "lora.safetensors"
    path.write_bytes(lora_bytes(adapted.parameters, adapted, {}))
    return LoraFile(path, 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": 8.0, "block_ranks": {"single:1": 6, "double:0": 2}},
        {"dora": True},
        {"dora": True, "rslora": True, "alpha": 6.0},
        {"targets": ["modulation", "embedders"]},
        {"include": ["proj_out", "transformer_blocks.1.ff.net.2"]},
    ],
)
def test_a_lora_is_worn_as_it_was_trained(folder: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    adapted = trained(LoraRecipe.model_validate({"rank": 4, **changes}))
    worn = read_loras([written(tmp_path, adapted)], flux_host(folder))
    fresh = tiny_transformer()
    wear(fresh, worn)
    expected = adapted.transformer(**tiny_inputs(), return_dict=False)[0]
    torch.testing.assert_close(fresh(**tiny_inputs(), return_dict=False)[0], expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(tiny_transformer()(**tiny_inputs(), return_dict=False)[0], expected, atol=1e-3)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize("changes", [{"alpha": 8.0, "block_ranks": {"single:1": 6}}, {"dora": True}])
def test_for_drawing_loras_go_into_full_weights_and_draw_the_same(
    folder: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    (tmp_path / "other").mkdir()
    first = written(tmp_path, trained(LoraRecipe.model_validate({"rank": 4, **changes})))
    files = [replace(first, weight=0.7), write_lora(tmp_path / "other" / "b.safetensors", 2)]
    models = {wearing: tiny_transformer() for wearing in (wear, wear_for_good)}
    for wearing, model in models.items():
        wearing(model, read_loras(files, flux_host(folder)))
    worn, for_good = (model(**tiny_inputs(), return_dict=False)[0] for model in models.values())
    torch.testing.assert_close(for_good, worn, atol=1e-5, rtol=1e-4)
    assert any("lora" in name for name, _ in models[wear_for_good].named_modules()) == bool(changes.get("dora"))


def test_weights_of_few_bits_keep_a_lora_beside_them(folder: Path, tmp_path: Path) -> None:
    model = tiny_transformer().bfloat16()
    wear_for_good(model, read_loras([written(tmp_path, trained(LoraRecipe(rank=4)))], flux_host(folder)))
    assert any("lora" in name for name, _ in model.named_modules())


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_loras_of_several_kinds_are_worn_together(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [
        written(tmp_path, trained(LoraRecipe(rank=4, dora=True))),
        write_lora(tmp_path / "other" / "b.safetensors", 2),
    ]
    together, alone = tiny_transformer(), tiny_transformer()
    wear(together, read_loras(files, flux_host(folder)))
    wear(alone, read_loras(files[:1], flux_host(folder)))
    one, two = (model(**tiny_inputs(), return_dict=False)[0] for model in (together, alone))
    assert not torch.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"), [({"dora": True}, "is a DoRA"), ({"targets": ["mlp", "modulation"]}, "changes modules")]
)
def test_what_quantised_weights_cannot_wear_is_refused_by_its_names(
    folder: Path, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    adapted = trained(LoraRecipe.model_validate({"rank": 4, **changes}))
    with pytest.raises(InputError, match=said):
        require_fast(read_loras([written(tmp_path, adapted)], flux_host(folder)))


@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": 8.0},
        {"dora": True, "alpha": 2.0, "rslora": True},
        {"targets": ["attention", "mlp", "modulation", "embedders"]},
        {"targets": ["embedders"]},
        {"include": ["*.add_q_proj", "*.to_v"], "block_ranks": {"double:0": 2}},
    ],
)
def test_the_file_for_other_tools_says_the_same(folder: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    adapted = trained(LoraRecipe.model_validate({"rank": 4, **changes}))
    ours = written(tmp_path, adapted)
    theirs = LoraFile(tmp_path / "kohya.safetensors", 1.0)
    theirs.path.write_bytes(to_kohya(ours.path.read_bytes()))
    tensors, _ = read_tensors(theirs.path)
    assert all(name.startswith("lora_unet_") for name in tensors)
    assert any(name.endswith(".dora_scale") for name in tensors) == bool(changes.get("dora"))
    drawn = []
    for file in (ours, theirs):
        model = tiny_transformer()
        wear(model, read_loras([file], flux_host(folder)))
        drawn.append(model(**tiny_inputs(), return_dict=False)[0])
    torch.testing.assert_close(drawn[1], drawn[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dora": True, "include": ["*.to_q"]}, "only a part of it has magnitudes"),
        ({"include": ["norm_out.linear"]}, "norm_out.linear has no name there"),
    ],
)
def test_what_that_layout_cannot_hold_is_said(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    adapted = trained(LoraRecipe.model_validate({"rank": 4, **changes}))
    with pytest.raises(InputError, match=said):
        to_kohya(written(tmp_path, adapted).path.read_bytes())


def test_xlabs_names_are_known(folder: Path, tmp_path: Path) -> None:
    width = 32
    tensors = {
        f"double_blocks.0.processor.qkv_lora1.{part}.weight": torch.randn(shape)
        for part, shape in (("down", (2, width)), ("up", (3 * width, 2)))
    }
    (tmp_path / "x.safetensors").write_bytes(tensor_bytes(tensors))
    (worn,) = read_loras([LoraFile(tmp_path / "x.safetensors", 1.0)], flux_host(folder))
    assert sorted(worn.modules) == [f"transformer_blocks.0.attn.to_{part}" for part in "kqv"]


def test_a_generator_refuses_a_lora_before_it_loads_anything(folder: Path, tmp_path: Path) -> None:
    """The folder has no text encoders and no autoencoder: loading anything would end otherwise."""
    (tmp_path / "x.safetensors").write_bytes(tensor_bytes({"nothing.lora_A.weight": torch.zeros(2, 2)}))
    model = FluxModel(folder, "tiny", torch.device("cpu"), torch.float32)
    with pytest.raises(InputError, match=r"x\.safetensors cannot be used"):
        FluxGenerator(model, TensorCache(tmp_path), ModelSetup(loras=(LoraFile(tmp_path / "x.safetensors", 1.0),)))
