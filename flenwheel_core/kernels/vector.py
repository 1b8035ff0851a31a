"""An fp8 weight times a few vectors, as modulation needs it: one token, so it is the weight's bytes that cost."""

import torch

from flenwheel_core.kernels.kernel import Kernel, near, sample
from flenwheel_core.kernels.quantise import quantise_rows


@torch.library.custom_op("flenwheel::times_vector", mutates_args=())
def times_vector(vectors: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """vectors (batch, inputs) times the fp8 weight (outputs, inputs), plus bias: (batch, outputs)."""
    if VECTOR.works(vectors.device):
        from flenwheel_core.kernels.triton.vector import times_vector_on_card

        return times_vector_on_card(vectors, codes, scales, bias)
    return plain_times_vector(vectors, codes, scales, bias)


@times_vector.register_fake
def _(vectors: torch.Tensor, codes: torch.Tensor, *_: object) -> torch.Tensor:
    return vectors.new_empty((vectors.shape[0], codes.shape[0]))


def plain_times_vector(
    vectors: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The same by PyTorch's own operations."""
    product = (codes.float()[None] * vectors.float()[:, None, :]).sum(-1)
    return (product * scales.t() + bias).to(vectors.dtype)


def _check(device: torch.device) -> bool:
    from flenwheel_core.kernels.triton.vector import times_vector_on_card

    codes, scale = quantise_rows(sample(40, 600, device=device, seed=1))
    vectors, bias = sample(2, 600, device=device, seed=2) / 16, sample(40, device=device, seed=3)
    expected = vectors.float() @ (codes.float() * scale).t() + bias.float()
    return near(times_vector_on_card(vectors, codes, scale, bias), expected)


VECTOR = Kernel(
    "vector",
    "an fp8 weight times a few vectors",
    _check,
    ops=("flenwheel::times_vector",),
    weights=("fp8",),
    multiplies_fp8=True,
)
