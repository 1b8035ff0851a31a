"""SwiGLU is what FLUX.2's own module computes, with its gradient."""

import torch
from diffusers.models.transformers.transformer_flux2 import Flux2SwiGLU

from flenwheel_core.kernels.swiglu import swiglu


def test_swiglu_and_its_gradient_equal_the_reference() -> None:
    torch.manual_seed(0)
    x, dy = torch.randn(2, 3, 16), torch.randn(2, 3, 8)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    got, expected = swiglu(*one.chunk(2, -1)), Flux2SwiGLU()(other)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, one, dy), torch.autograd.grad(expected, other, dy))


def test_swiglu_by_hand() -> None:
    got = swiglu(torch.tensor([0.0, 1.0, -1.0]), torch.tensor([5.0, 2.0, 2.0]))
    torch.testing.assert_close(got, torch.tensor([0.0, 1.4621172, -0.5378828]))
