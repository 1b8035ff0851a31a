"""Attention without mask, by the fastest kernel that is right on this device."""

import torch

# cuDNN's backward kernel reads the output's gradient as if it were contiguous and crashes when it is a slice of a larger
# tensor, as it is in FLUX's single blocks. The operator below makes it contiguous; being opaque to the compiler, it gets
# its inputs laid out as it wants them.


@torch.library.custom_op("flenwheel::cudnn_attention", mutates_args=(), device_types="cuda")
def _cudnn_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    result = torch.ops.aten._scaled_dot_product_cudnn_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), None, True, 0.0, False, False
    )
    return result[0].transpose(1, 2).contiguous(), result[1]


@_cudnn_attention.register_fake
def _(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor):  # type: ignore[no-untyped-def]
    batch, tokens, heads, _ = q.shape
    logsumexp = q.new_empty((batch, heads, tokens, 1), dtype=torch.float32)
    return torch.empty_like(q, memory_format=torch.contiguous_format), logsumexp


@torch.library.custom_op("flenwheel::cudnn_attention_backward", mutates_args=(), device_types="cuda")
def _cudnn_attention_backward(
    dy: torch.Tensor, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, y: torch.Tensor, logsumexp: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    tokens = q.shape[1]
    q, k, v, y, dy = (t.contiguous().transpose(1, 2) for t in (q, k, v, y, dy))
    unused = torch.empty((), dtype=torch.int64, device=q.device)  # seed and offset of the dropout that there is not
    gradients = torch.ops.aten._scaled_dot_product_cudnn_attention_backward(
        dy, q, k, v, y, logsumexp, unused, unused, None, None, None, tokens, tokens, 0.0, False
    )
    return tuple(g.transpose(1, 2).contiguous() for g in gradients)  # type: ignore[return-value]


@_cudnn_attention_backward.register_fake
def _(dy, q, k, v, y, logsumexp):  # type: ignore[no-untyped-def]
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))


def _save(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs, *output)


def _backward(ctx, dy, *_):  # type: ignore[no-untyped-def]
    return _cudnn_attention_backward(dy.contiguous(), *ctx.saved_tensors)


_cudnn_attention.register_autograd(_backward, setup_context=_save)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, cudnn: bool) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) v for q, k, v of shape (batch, tokens, heads, channels); the same shape.

    `cudnn` takes cuDNN's kernel (twice as fast as flash on Hopper, forward and backward), else PyTorch chooses.
    """
    if cudnn:
        return _cudnn_attention(q.contiguous(), k.contiguous(), v.contiguous())[0]  # type: ignore[no-any-return]
    y = torch.nn.functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return y.transpose(1, 2)


def cudnn_attention_works(device: torch.device, channels: int) -> bool:
    """True if cuDNN's kernel runs here, forward and backward, and gives what float32 arithmetic gives."""
    if device.type != "cuda":
        return False
    generator = torch.Generator(device).manual_seed(0)
    shape = (1, 256, 2, channels)
    q, k, v, dy = (torch.randn(shape, device=device, generator=generator, dtype=torch.bfloat16) for _ in range(4))
    try:
        results = []
        for cudnn in (True, False):
            inputs = [t.clone().requires_grad_() for t in (q, k, v)]
            y = attention(*inputs, cudnn=cudnn)
            results.append([y, *torch.autograd.grad(y, inputs, dy)])
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return all(torch.allclose(a.float(), b.float(), atol=0.03, rtol=0.03) for a, b in zip(*results, strict=True))
