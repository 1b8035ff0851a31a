"""Layer norm with shift and scale from outside, and the same in fp8 for the product that follows, in one kernel on a card."""

import torch
from torch.nn import functional

from flenwheel_core.kernels.kernel import Kernel, near, sample
from flenwheel_core.kernels.quantise import FP8

EPS = 1e-6
WIDEST = 4096


def modulated(x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """norm(x) * (1 + scale) + shift for x (batch, tokens, channels); shift and scale (batch, 1, channels)."""
    return functional.layer_norm(x, (x.shape[-1],), eps=EPS) * (1 + scale) + shift


def modulated_and_quantised(
    x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same on a card, and its e4m3 codes (batch * tokens, channels) with row scales; shift and scale get no gradient."""
    made: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _Modulated.apply(x, shift, scale)
    return made


class _Modulated(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, shift, scale):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, scale)
        y, codes, row_scales = modulated_rows(x, shift, scale)
        ctx.mark_non_differentiable(codes, row_scales)
        return y, codes, row_scales

    @staticmethod
    def backward(ctx, dy, _codes, _row_scales):  # type: ignore[no-untyped-def]
        x, scale = ctx.saved_tensors
        values = x.float()
        centred = values - values.mean(-1, keepdim=True)
        inverse = torch.rsqrt(centred.square().mean(-1, keepdim=True) + EPS)
        normed = centred * inverse
        gradient = dy.float() * (1 + scale.float())
        along = (gradient * normed).mean(-1, keepdim=True)
        return (inverse * (gradient - gradient.mean(-1, keepdim=True) - normed * along)).to(x.dtype), None, None


@torch.library.custom_op("flenwheel::modulated_rows", mutates_args=())
def modulated_rows(
    x: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """y, codes and row scales of `modulated_and_quantised`."""
    from flenwheel_core.kernels.triton.modulated import modulated_rows_on_card

    return modulated_rows_on_card(x, shift, scale, EPS)


@modulated_rows.register_fake
def _(x: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = x.shape[0] * x.shape[1]
    codes = x.new_empty((rows, x.shape[2]), dtype=FP8)
    return x.new_empty(x.shape), codes, x.new_empty((rows, 1), dtype=torch.float32)


def _check(device: torch.device) -> bool:
    x = sample(2, 3, 300, device=device, seed=1)
    shift, scale = (sample(2, 1, 300, device=device, seed=2 + i) / 4 for i in range(2))
    y, codes, row_scales = modulated_rows(x, shift, scale)
    expected = modulated(x.float(), shift.float(), scale.float())
    return near(y, expected) and torch.allclose(
        (codes.float() * row_scales), y.reshape(6, 300).float(), rtol=0.07, atol=0.01
    )


MODULATED = Kernel(
    "modulated",
    "norm, modulation and fp8 in one",
    _check,
    ops=("flenwheel::modulated_rows",),
    weights=("fp8",),
    multiplies_fp8=True,
)
