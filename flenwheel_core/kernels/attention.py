"""Attention without mask, by the fastest kernel that is right on this device."""

from functools import lru_cache, partial

import torch

from flenwheel_core.kernels.kernel import Kernel

# cuDNN's backward kernel reads the output's gradient as if it were laid out like the output and crashes when it is a
# slice of a larger tensor, as it is in FLUX's single blocks: so it is made contiguous first.


class _Cudnn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v):  # type: ignore[no-untyped-def]
        q, k = (t.contiguous().transpose(1, 2) for t in (q, k))
        v = (v if v.stride(-1) == 1 else v.contiguous()).transpose(1, 2)  # a slice of a wider tensor is read in place
        y, logsumexp, _, _, _, _, seed, offset, _ = torch.ops.aten._scaled_dot_product_cudnn_attention(
            q, k, v, None, True, 0.0, False, False
        )
        ctx.save_for_backward(q, k, v, y, logsumexp, seed, offset)
        return y.transpose(1, 2)

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        q, k, v, y, logsumexp, seed, offset = ctx.saved_tensors
        tokens = q.shape[2]
        gradients = torch.ops.aten._scaled_dot_product_cudnn_attention_backward(
            dy.contiguous().transpose(1, 2),
            *(q, k, v, y, logsumexp, seed, offset),
            *(None, None, None, tokens, tokens, 0.0, False),
        )
        return tuple(gradient.transpose(1, 2) for gradient in gradients)


class _WholeGradient(torch.autograd.Function):
    """The same values; the gradient arrives contiguous at what comes before."""

    @staticmethod
    def forward(ctx, y):  # type: ignore[no-untyped-def]
        return y.view_as(y)

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        return dy.contiguous()


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, cudnn: bool) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v for q, k, v of shape (batch, tokens, heads, channels); the same shape.

    `cudnn` takes cuDNN's kernel (twice as fast as flash on Hopper, forward and backward), else PyTorch chooses.
    """
    if cudnn:
        return _Cudnn.apply(q, k, v)
    y = torch.nn.functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    # PyTorch may choose cuDNN too, and then computes wrong gradients from a slice without saying so.
    return _WholeGradient.apply(y.transpose(1, 2)) if y.is_cuda else y.transpose(1, 2)


def causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Each token attends to itself and to those before it: q (batch, tokens, heads, channels), k and v with as many heads or fewer,
    which several heads of q then share; the shape of q. PyTorch chooses the kernel.
    """
    shared = q.shape[2] // k.shape[2]
    if shared > 1:
        k, v = (part.repeat_interleave(shared, dim=2) for part in (k, v))
    y = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
    )
    return _WholeGradient.apply(y.transpose(1, 2)) if y.is_cuda else y.transpose(1, 2)


def learn_through_other_modules() -> None:
    """Call it before a gradient goes through modules that are not this program's, such as diffusers' own.

    They let PyTorch choose the kernel, which may be cuDNN's; its gradients are wrong, or no numbers at all, where what comes behind is a
    slice, as in FLUX's single blocks. From now on this process leaves that kernel out of PyTorch's choice.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)


def cudnn_attention_works(device: torch.device, channels: int) -> bool:
    """True if cuDNN's kernel is used here for heads of so many channels: it runs, forward and backward, and is right."""
    return _cudnn(channels).works(device)


def _check(device: torch.device, channels: int) -> bool:
    generator = torch.Generator(device).manual_seed(0)
    shape = (1, 256, 2, channels)
    q, k, v, dy = (torch.randn(shape, device=device, generator=generator, dtype=torch.bfloat16) for _ in range(4))
    results = []
    with torch.enable_grad():
        for cudnn in (True, False):
            inputs = [t.clone().requires_grad_() for t in (q, k, v)]
            y = attention(*inputs, cudnn=cudnn)
            results.append([y, *torch.autograd.grad(y, inputs, dy)])
    return all(torch.allclose(a.float(), b.float(), atol=0.03, rtol=0.03) for a, b in zip(*results, strict=True))


@lru_cache(maxsize=8)
def _cudnn(channels: int) -> Kernel:
    """The kernel for heads of one width: it may run for one and not for another."""
    return Kernel("attention", "attention by cuDNN", partial(_check, channels=channels))


ATTENTION = _cudnn(128)
"""For heads as wide as FLUX's and Qwen-Image's."""
