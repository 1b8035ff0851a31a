"""The fast transformer computes what diffusers' transformer with PEFT's LoRA computes."""

import pytest
import torch

from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.models.flux1.adapter import TARGETS, put_on
from flenwheel_core.models.flux1.fast import FastFlux
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from tests.kit.state_source import StateSource
from tests.kit.tiny_flux import CONFIG, tiny_inputs, tiny_transformer

RECIPE = LoraRecipe(rank=4, alpha=8.0, exclude=("*.attn.to_k",), block_ranks={"single:1": 8})


def pair(**plan: object) -> tuple[torch.nn.Module, FastFlux, dict[str, torch.nn.Parameter]]:
    """(reference, fast, the reference's trained matrices), with the same random matrices on both."""
    transformer = tiny_transformer()
    source = StateSource(transformer)
    names = [name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)]
    ranks = lora_ranks(names, RECIPE, TARGETS)
    adapted = put_on(transformer, RECIPE, seed=0)
    settings = FastPlan(compile=False, cudnn=False, **plan)  # type: ignore[arg-type]
    fast = FastFlux(CONFIG, source, settings, AdapterPlan(ranks, dict.fromkeys(ranks, 2.0)))
    assert set(fast.lora) == set(adapted.parameters)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in adapted.parameters.items():
            if "lora_B" in name:
                parameter.normal_(generator=generator, std=0.1)
            fast.lora[name].copy_(parameter)
    return transformer, fast, dict(adapted.parameters)


def gradient(model: torch.nn.Module, parameters: dict[str, torch.nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
    output = model(**tiny_inputs(), return_dict=False)[0]
    output.square().mean().backward()
    return output.detach(), torch.cat([parameters[name].grad.flatten() for name in sorted(parameters)])  # type: ignore[union-attr]


@pytest.mark.parametrize("recompute", [(0, 0), (1, 2)])
def test_dense_output_and_gradients_equal_the_reference(recompute: tuple[int, int]) -> None:
    reference, fast, parameters = pair(recompute=(recompute[0], recompute[1]))
    expected, expected_gradient = gradient(reference, parameters)
    got, got_gradient = gradient(fast, fast.lora)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(got_gradient, expected_gradient, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize(
    ("plan", "cosine"),
    [
        ({"storage": "fp8", "modulation": "fp8"}, 0.995),
        ({"storage": "fp8", "modulation": "fp8", "compact": False, "keep_transposed": True}, 0.995),
        ({"storage": "nf4", "modulation": "nf4"}, 0.95),
    ],
)
def test_quantised_gradients_point_the_same_way(plan: dict[str, object], cosine: float) -> None:
    reference, fast, parameters = pair(**plan)
    _, expected = gradient(reference, parameters)
    _, got = gradient(fast, fast.lora)
    assert torch.nn.functional.cosine_similarity(expected, got, dim=0) > cosine
    assert got.norm() == pytest.approx(expected.norm().item(), rel=0.1)


def test_without_adapter_it_is_the_base_model() -> None:
    reference, fast, _ = pair()
    base = tiny_transformer()(**tiny_inputs(), return_dict=False)[0]
    with torch.no_grad():
        with_adapter = fast(**tiny_inputs())[0]
        with fast.without_adapter():
            without = fast(**tiny_inputs())[0]
    torch.testing.assert_close(without, base, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(with_adapter, base, atol=1e-3)
    assert torch.equal(fast(**tiny_inputs())[0].detach(), with_adapter)
    assert reference is not fast
