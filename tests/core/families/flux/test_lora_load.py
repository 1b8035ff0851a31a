from pathlib import Path

import pytest
import torch

from flenwheel_core.families.flux.adapter import adapt_reference
from flenwheel_core.families.flux.fast import FastPlan
from flenwheel_core.families.flux.loading import FluxModel
from flenwheel_core.families.flux.lora_file import lora_bytes
from flenwheel_core.families.flux.lora_load import load_with_loras
from flenwheel_core.families.protocols import LoraFile
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.training.cache import TensorCache
from tests.core.families.flux.tiny import tiny_inputs, tiny_transformer

PLAN = FastPlan(compile=False, cudnn=False)


def write_lora(path: Path, seed: int) -> LoraFile:
    adapted = adapt_reference(tiny_transformer(), LoraRecipe(rank=3, alpha=6.0), seed=seed)
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
    adapted = load_with_loras(model, PLAN, loras, cache=TensorCache(tmp_path / "cache"))
    got = adapted.transformer(**tiny_inputs())[0]
    torch.testing.assert_close(got, expected(**tiny_inputs(), return_dict=False)[0], atol=2e-5, rtol=1e-4)


def test_quantised_weights_are_kept_and_read_again(tmp_path: Path) -> None:
    tiny_transformer().save_pretrained(tmp_path / "model" / "transformer")
    model = FluxModel(tmp_path / "model", "tiny", torch.device("cpu"), torch.float32)
    cache = TensorCache(tmp_path / "cache")
    for storage in ("fp8", "nf4"):
        plan = FastPlan(storage=storage, modulation=storage, compile=False, cudnn=False)  # type: ignore[arg-type]
        first = load_with_loras(model, plan, [], cache=cache).transformer(**tiny_inputs())[0]
        files = sorted((tmp_path / "cache").rglob("*.safetensors"))
        again = load_with_loras(model, plan, [], cache=cache).transformer(**tiny_inputs())[0]
        assert files and sorted((tmp_path / "cache").rglob("*.safetensors")) == files
        assert torch.equal(first, again)
