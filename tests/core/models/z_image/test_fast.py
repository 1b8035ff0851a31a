"""The fast transformer computes what diffusers' transformer with PEFT's LoRA computes."""

import pytest
import torch
from torch import Tensor

from flenwheel_core.adapters.peft_adapter import adapt_by_peft
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.errors import InputError
from flenwheel_core.models.z_image.fast import MEMBERS, FastZImage
from flenwheel_core.models.z_image.geometry import velocity
from flenwheel_core.models.z_image.names import TARGETS
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from tests.kit.state_source import StateSource
from tests.kit.tiny_z_image import CONFIG, TEXT_WIDTH, tiny_transformer

RECIPE = LoraRecipe(rank=4, alpha=8.0, exclude=("*.attention.to_k",), block_ranks={"layer:1": 8})


def pair(
    config: dict[str, object] = CONFIG, **plan: object
) -> tuple[torch.nn.Module, FastZImage, dict[str, torch.nn.Parameter]]:
    """(reference, fast, the reference's trained matrices), with the same random matrices on both."""
    transformer = tiny_transformer()
    source = StateSource(transformer)
    names = [name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)]
    ranks = lora_ranks(names, RECIPE, TARGETS)
    adapted = adapt_by_peft(transformer, ranks, RECIPE, seed=0)
    settings = FastPlan(compile=False, cudnn=False, **plan)  # type: ignore[arg-type]
    fast = FastZImage(config, source, settings, AdapterPlan(ranks, dict.fromkeys(ranks, 2.0)))
    assert set(fast.lora) == set(adapted.parameters)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in adapted.parameters.items():
            if "lora_B" in name:
                parameter.normal_(generator=generator, std=0.1)
            fast.lora[name].copy_(parameter)
    return transformer, fast, dict(adapted.parameters)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LATENTS = normal(1, 2, 4, 6, 10)
"""15 tokens, padded to 32."""
SIGMA = torch.tensor([0.3, 0.8])
TEXTS = [normal(2, 5, TEXT_WIDTH), normal(3, 7, TEXT_WIDTH)]
"""Both are padded to 32 tokens."""


def gradient(
    model: torch.nn.Module, parameters: dict[str, torch.nn.Parameter], texts: list[Tensor] = TEXTS
) -> tuple[Tensor, Tensor]:
    output = velocity(model, LATENTS, SIGMA, texts)
    output.square().mean().backward()
    return output.detach(), torch.cat([parameters[name].grad.flatten() for name in sorted(parameters)])  # type: ignore[union-attr]


@pytest.mark.parametrize("recompute", [(0, 0, 0), (1, 1, 1)])
def test_dense_output_and_gradients_equal_the_reference(recompute: tuple[int, ...]) -> None:
    reference, fast, parameters = pair(recompute=recompute)
    expected, expected_gradient = gradient(reference, parameters)
    got, got_gradient = gradient(fast, fast.lora)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(got_gradient, expected_gradient, atol=2e-5, rtol=1e-3)
    assert expected_gradient.abs().max() > 1e-3


def test_texts_that_are_padded_to_different_lengths_do_not_reach_each_other() -> None:
    reference, fast, parameters = pair()
    texts = [TEXTS[0], normal(4, 40, TEXT_WIDTH)]
    expected, expected_gradient = gradient(reference, parameters, texts)
    got, got_gradient = gradient(fast, fast.lora, texts)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(got_gradient, expected_gradient, atol=1e-4, rtol=1e-2)


@pytest.mark.parametrize(
    ("plan", "cosine", "length"),
    [
        ({"storage": "fp8"}, 0.98, 0.1),
        ({"storage": "fp8", "keep_transposed": True}, 0.98, 0.1),
        ({"storage": "nf4"}, 0.85, 0.3),
    ],
)
def test_quantised_gradients_point_the_same_way(plan: dict[str, object], cosine: float, length: float) -> None:
    reference, fast, parameters = pair(**plan)
    _, expected = gradient(reference, parameters)
    _, got = gradient(fast, fast.lora)
    assert torch.nn.functional.cosine_similarity(expected, got, dim=0) > cosine
    assert got.norm() == pytest.approx(expected.norm().item(), rel=length)


def test_without_adapter_it_is_the_base_model() -> None:
    _, fast, _ = pair()
    base = velocity(tiny_transformer(), LATENTS, SIGMA, TEXTS)
    with torch.no_grad():
        with_adapter = velocity(fast, LATENTS, SIGMA, TEXTS)
        with fast.without_adapter():
            without = velocity(fast, LATENTS, SIGMA, TEXTS)
    torch.testing.assert_close(without, base, atol=2e-5, rtol=1e-4)
    assert not torch.allclose(with_adapter, base, atol=1e-3)


def test_weights_that_are_no_parameters_are_counted() -> None:
    reference, fast, _ = pair()
    inside = sum(
        module.base_layer.weight.numel() if hasattr(module, "base_layer") else module.weight.numel()
        for name, module in reference.named_modules()
        if name.endswith(tuple(f".{part}" for parts in MEMBERS.values() for part in parts))
    )
    assert fast.hidden_weights == inside > 0


def test_norms_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="epsilon"):
        pair({**CONFIG, "norm_eps": 1e-6})
