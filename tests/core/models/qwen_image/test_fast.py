"""The fast transformer equals diffusers' one with PEFT's adapters: outputs and gradients."""

from pathlib import Path

import pytest
import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.models.qwen_image.adapter import adapt, put_on, start_fast
from flenwheel_core.models.qwen_image.fast import FAST_NAMES, FastQwen
from flenwheel_core.models.qwen_image.loading import find_model
from flenwheel_core.nano.models.editor import build_transformer
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan

TEXT = 24


class Tensors:
    """The weights of a model, by name."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def tensor(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name].shape)

    def has(self, name: str) -> bool:
        return name in self._tensors


@pytest.fixture(scope="module")
def inputs() -> dict[str, object]:
    torch.manual_seed(1)
    shapes = [[(1, 4, 6), (1, 6, 4), (1, 2, 2)]]
    return {
        "hidden_states": torch.randn(1, 24 + 24 + 4, 64),
        "timestep": torch.tensor([0.4]),
        "encoder_hidden_states": torch.randn(1, 20, TEXT),
        "img_shapes": shapes,
    }


def models(
    recompute: int = 0, *, zero_cond_t: bool = False
) -> tuple[torch.nn.Module, FastQwen, dict[str, torch.nn.Parameter]]:
    torch.manual_seed(0)
    slow = build_transformer(TEXT)
    if zero_cond_t:
        slow = type(slow).from_config({**slow.config, "zero_cond_t": True})
    with torch.no_grad():
        for parameter in slow.parameters():
            parameter.normal_(0, 0.08)
    source = Tensors(slow)
    adapted = put_on(slow, LoraRecipe(rank=4, alpha=2.0), seed=3)
    plan = FastPlan(compile=False, cudnn=False, compact=False, recompute=(recompute,))
    fast = FastQwen(dict(slow.config), source, plan, AdapterPlan(adapted.ranks, adapted.scales))
    assert set(fast.lora) == set(adapted.parameters) and all(name.endswith(FAST_NAMES) for name in adapted.ranks)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in adapted.parameters.items():
            parameter.normal_(0, 0.1)
            fast.lora[name].copy_(parameter)
    return slow, fast, dict(adapted.parameters)


@pytest.mark.parametrize(
    ("recompute", "keep_attention", "zero_cond_t"), [(0, 0, False), (4, 0, False), (4, 3, False), (4, 3, True)]
)
def test_outputs_and_gradients_are_diffusers_own(
    inputs: dict[str, object], recompute: int, keep_attention: int, zero_cond_t: bool
) -> None:
    slow, fast, parameters = models(recompute, zero_cond_t=zero_cond_t)
    fast.keep_attention = keep_attention
    expected, got = slow(**inputs, return_dict=False)[0], fast(**inputs)[0]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    expected.square().mean().backward()
    got.square().mean().backward()
    for name, parameter in parameters.items():
        mine = fast.lora[name].grad
        if parameter.grad is None:  # nothing reads the text stream after the last block
            assert ".5." in name and (mine is None or not mine.any())
            continue
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-3, atol=1e-5, msg=name)


@torch.no_grad()
def test_without_adapter_it_is_the_base_model(inputs: dict[str, object]) -> None:
    _, fast, _ = models()
    torch.manual_seed(0)
    base = build_transformer(TEXT)
    for parameter in base.parameters():
        parameter.normal_(0, 0.08)
    with fast.without_adapter():
        torch.testing.assert_close(fast(**inputs)[0], base(**inputs, return_dict=False)[0], rtol=1e-4, atol=1e-4)


def test_padded_prompts_are_refused(inputs: dict[str, object]) -> None:
    _, fast, _ = models()
    with pytest.raises(ValueError, match="padded"):
        fast(**inputs, encoder_hidden_states_mask=torch.ones(1, 20, dtype=torch.bool))


def test_a_new_adapter_starts_as_pefts_does(editor_folder: Path, settings: Settings) -> None:
    model, recipe = find_model(editor_folder, "tiny", settings), LoraRecipe(rank=4)
    slow = adapt(model, TrainingRecipe(lora=recipe), 100, seed=3)
    config = dict(slow.transformer.config)  # type: ignore[call-overload]
    plan = FastPlan(compile=False, cudnn=False)
    fast = start_fast(model, config, plan, slow.ranks, slow.scales, seed=3)
    assert set(fast.parameters) == set(slow.parameters)
    for name, parameter in slow.parameters.items():
        torch.testing.assert_close(fast.parameters[name], parameter)


@pytest.mark.parametrize("recompute", [0, 4])
def test_gradients_of_the_prompt_are_diffusers_own(inputs: dict[str, object], recompute: int) -> None:
    """Injection learns what is added to a prompt, with nothing else to be learned in the transformer."""
    slow, fast, _ = models(recompute)
    found = []
    for model in (slow, fast):
        model.requires_grad_(False)
        prompt = torch.randn(1, 20, TEXT, generator=torch.Generator().manual_seed(7)).requires_grad_()
        model(**{**inputs, "encoder_hidden_states": prompt}, return_dict=False)[0].square().mean().backward()
        assert prompt.grad is not None
        found.append(prompt.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-6)
    assert found[0].abs().sum() > 0
