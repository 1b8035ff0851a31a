"""GELU in its tanh form, alone and together with quantising for the product that follows."""

import math

import torch
from torch.nn import functional

from flenwheel_core.kernels.kernel import Kernel, near, sample
from flenwheel_core.kernels.quantise import FP8

_FACTOR = 2 * math.sqrt(2 / math.pi)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """GELU in its tanh form. On a card, below float32, by the sigmoid, which is the same function at a third of the instructions."""
    if x.is_cuda and x.dtype != torch.float32:  # compiled for float32 by PyTorch 2.11, its gradient was wrong
        return _Gelu.apply(x)
    return functional.gelu(x, approximate="tanh")


def gelu_and_quantised(
    before: torch.Tensor | None, pre: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """On a card: `before` (if any) and GELU of `pre` side by side (batch, tokens, widths), its codes and row scales."""
    made: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _Joined.apply(before, pre)
    return made


def _slope(values: torch.Tensor) -> torch.Tensor:
    """d gelu / d x of float32 values. (1 + tanh u) / 2 is sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    share = torch.sigmoid(_FACTOR * (values + 0.044715 * values**3))
    return share + values * share * (1 - share) * _FACTOR * (1 + 3 * 0.044715 * values**2)


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        values = x.float()
        return (values * torch.sigmoid(_FACTOR * (values + 0.044715 * values**3))).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        return (dy.float() * _slope(ctx.saved_tensors[0].float())).to(dy.dtype)


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx, before, pre):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(pre)
        ctx.head = 0 if before is None else before.shape[-1]
        x, codes, scales = gelu_rows(before, pre)
        ctx.mark_non_differentiable(codes, scales)
        return x, codes, scales

    @staticmethod
    def backward(ctx, dx, _codes, _scales):  # type: ignore[no-untyped-def]
        (pre,) = ctx.saved_tensors
        dpre = (dx[..., ctx.head :].float() * _slope(pre.float())).to(dx.dtype)
        return dx[..., : ctx.head] if ctx.head else None, dpre


@torch.library.custom_op("flenwheel::gelu_rows", mutates_args=())
def gelu_rows(before: torch.Tensor | None, pre: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, codes and row scales of `gelu_and_quantised`."""
    from flenwheel_core.kernels.triton.gelu import gelu_rows_on_card

    return gelu_rows_on_card(before, pre)


@gelu_rows.register_fake
def _(before: torch.Tensor | None, pre: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    width = pre.shape[2] + (0 if before is None else before.shape[2])
    rows = pre.shape[0] * pre.shape[1]
    codes = pre.new_empty((rows, width), dtype=FP8)
    return pre.new_empty((pre.shape[0], pre.shape[1], width)), codes, pre.new_empty((rows, 1), dtype=torch.float32)


def _check(device: torch.device) -> bool:
    wide = sample(2, 3, 1700, device=device, seed=1)
    before, pre = sample(2, 3, 200, device=device, seed=2), wide[..., 200:]
    bent = functional.gelu(pre.float(), approximate="tanh")
    for first, expected in ((before, torch.cat([before.float(), bent], -1)), (None, bent)):
        x, codes, scales = gelu_rows(first, pre)
        if not near(x, expected) or not near(codes.float() * scales, x.reshape(6, -1), 0.06):
            return False
    return True


GELU = Kernel(
    "gelu", "GELU and fp8 in one", _check, ops=("flenwheel::gelu_rows",), weights=("fp8",), multiplies_fp8=True
)
