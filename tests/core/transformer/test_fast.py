"""Blocks are compiled once, whatever formats the pictures have: on a card that takes longer than anything else before the first step."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch

import flenwheel_core.transformer.fast as fast_transformer
from flenwheel_core.models.flux1.fast import FastFlux
from flenwheel_core.models.flux2.fast import FastFlux2
from flenwheel_core.models.qwen_image.fast import FastQwen
from flenwheel_core.nano.models.editor import build_transformer
from flenwheel_core.transformer.fast import FastTransformer, compile_for_any_length, fast_names, of_any_length
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from tests.kit import tiny_flux, tiny_klein
from tests.kit.state_source import StateSource

FORMATS = ((4, 6), (2, 6), (8, 4), (3, 3))
PLAN = FastPlan(compile=True, cudnn=False, compact=False, recompute=(1, 1))


class Counting:
    """A backend that compiles nothing and counts what it was asked to compile."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, _inputs: list[torch.Tensor]) -> torch.fx.GraphModule:
        self.count += 1
        return graph


def flux(model: Any, kind: Callable[..., FastTransformer]) -> tuple[FastTransformer, Callable[..., Mapping[str, Any]]]:
    transformer = model.tiny_transformer()
    return kind(model.CONFIG, StateSource(transformer), PLAN, adapters(transformer)), partial(model.tiny_inputs, 1)


def qwen(*, zero_cond_t: bool = False) -> tuple[FastTransformer, Callable[..., Mapping[str, Any]]]:
    transformer = build_transformer(24)
    transformer = type(transformer).from_config({**transformer.config, "zero_cond_t": zero_cond_t})

    def inputs(rows: int, columns: int) -> Mapping[str, Any]:
        return {
            "hidden_states": torch.randn(1, 2 * rows * columns, 64),
            "timestep": torch.tensor([0.4]),
            "encoder_hidden_states": torch.randn(1, 20, 24),
            "img_shapes": [[(1, rows, columns), (1, rows, columns)]],
        }

    return FastQwen(dict(transformer.config), StateSource(transformer), PLAN, adapters(transformer)), inputs


def adapters(transformer: torch.nn.Module) -> AdapterPlan:
    endings = fast_names({"": ("to_out.0", "to_q", "attn.to_out")})
    names = [name for name, _ in transformer.named_modules() if name.endswith(endings)]
    return AdapterPlan(dict.fromkeys(names, 4), dict.fromkeys(names, 1.0))


@pytest.mark.filterwarnings("ignore")  # what the compiler of torch 2.11 warns of is its own
@pytest.mark.parametrize(
    "made",
    [partial(flux, tiny_flux, FastFlux), partial(flux, tiny_klein, FastFlux2), qwen, partial(qwen, zero_cond_t=True)],
    ids=["flux1", "flux2", "qwen_image", "qwen_image_2511"],
)
def test_every_family_is_compiled_once_for_all_picture_formats(
    made: Callable[[], tuple[FastTransformer, Callable[..., Mapping[str, Any]]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    monkeypatch.setattr(fast_transformer, "compile_for_any_length", partial(compile_for_any_length, backend=counting))
    fast, inputs = made()
    counts = []
    for rows, columns in FORMATS:
        fast(**inputs(rows, columns))[0].square().mean().backward()
        with torch.no_grad(), fast.without_adapter():
            fast(**inputs(rows, columns))
        counts.append(counting.count)
    assert counts[0] >= 3 and counts == [counts[0]] * len(FORMATS)


def test_a_function_compiled_for_any_length_computes_what_it_did() -> None:
    counting = Counting()

    def block(x: torch.Tensor, weight: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return (x * rope[0] + x * rope[1]) @ weight + x.mean(1, keepdim=True)

    run = compile_for_any_length(block, backend=counting)
    weight = torch.randn(8, 8)
    for tokens in (4096, 4032, 3952, 17):
        x, rope = torch.randn(1, tokens, 8), of_any_length((torch.randn(tokens, 8), torch.randn(tokens, 8)))
        torch.testing.assert_close(run(x, weight, rope), block(x, weight, rope))
    assert counting.count == 1
