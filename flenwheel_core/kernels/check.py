"""Which of our kernels can be used: those that run on this card and compute what PyTorch's own operations compute there."""

from collections.abc import Callable
from functools import lru_cache

import torch

from flenwheel_core.kernels.frozen_weights import FP8, quantise_rows


@lru_cache(maxsize=64)
def kernel_works(name: str, device: torch.device) -> bool:
    """True if the kernel runs on this device and gives what is expected; tried once, on a few numbers."""
    if device.type != "cuda":
        return False
    try:
        with torch.no_grad():
            right = _CHECKS[name](device)
        torch.cuda.synchronize(device)
    except Exception:  # whatever Triton, its compiler or the driver raise: there is another way
        return False
    return right


def _random(*shape: int, device: torch.device, seed: int) -> torch.Tensor:
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, device=device, generator=generator, dtype=torch.float32).bfloat16()


def _near(got: torch.Tensor, expected: torch.Tensor, within: float = 0.02) -> bool:
    """Equal but for roundings: the error's length, as a share of the expected."""
    return bool((got.float() - expected.float()).norm() <= within * expected.float().norm())


def _quantise(device: torch.device) -> bool:
    from flenwheel_core.kernels.card_kernels import quantise_rows_on_card

    for width in (96, 9216):
        x = _random(4, width, device=device, seed=1)
        columns = _random(width, device=device, seed=2).float().abs()
        for factor in (None, columns):
            codes, scale = quantise_rows_on_card(x, factor)
            expected, expected_scale = quantise_rows(x if factor is None else x.float() * factor)
            if not _near(scale, expected_scale, 1e-4) or not _near(codes.float(), expected.float()):
                return False
    return True


def _transpose(device: torch.device) -> bool:
    from flenwheel_core.kernels.card_kernels import transpose_on_card

    codes = _random(130, 70, device=device, seed=1).to(FP8)
    return torch.equal(transpose_on_card(codes).view(torch.uint8), codes.view(torch.uint8).t())


def _add(device: torch.device) -> bool:
    from flenwheel_core.kernels.card_kernels import add_product_on_card

    y, left, right = (
        _random(*shape, device=device, seed=i) for i, shape in enumerate(((70, 300), (70, 48), (300, 48)))
    )
    left = left / 8
    right[:128, 16:] = 0
    right[128:256, :16] = 0
    right[128:256, 32:] = 0
    right[256:, :32] = 0
    expected = y.float() + left.float() @ right.float().t()
    return all(_near(add_product_on_card(y.clone(), left, right.t(), *parts), expected) for parts in ((1, 0), (3, 128)))


def _vector(device: torch.device) -> bool:
    from flenwheel_core.kernels.card_kernels import times_vector_on_card

    codes, scale = quantise_rows(_random(40, 600, device=device, seed=1))
    vectors, bias = _random(2, 600, device=device, seed=2) / 16, _random(40, device=device, seed=3)
    expected = vectors.float() @ (codes.float() * scale).t() + bias.float()
    return _near(times_vector_on_card(vectors, codes, scale, bias), expected)


def _heads(device: torch.device) -> bool:
    from flenwheel_core.kernels.heads import Stream, joint_heads

    heads, width = 6, 64
    angles = _random(7, width // 2, device=device, seed=1).float()
    rope = angles.cos().repeat_interleave(2, 1), angles.sin().repeat_interleave(2, 1)
    norms = [_random(width, device=device, seed=5 + i) for i in range(4)]
    values = [_random(2, tokens, 3 * heads * width, device=device, seed=tokens) for tokens in (3, 4)]
    for count in (2, 1):
        results = []
        for kernel in (True, False):
            with torch.enable_grad():
                inputs = [value.detach().clone().requires_grad_() for value in values[:count]]
                streams = [Stream(x, norms[2 * i], norms[2 * i + 1]) for i, x in enumerate(inputs)]
                tokens = sum(x.shape[1] for x in inputs)
                made = joint_heads(streams, (rope[0][:tokens], rope[1][:tokens]), heads, kernel=kernel)
                results.append([*made, *torch.autograd.grad(made, inputs, [part.detach() for part in made])])
        if not all(_near(one, other) for one, other in zip(*results, strict=True)):
            return False
    return True


def _modulated(device: torch.device) -> bool:
    from flenwheel_core.kernels.modulated import modulated, modulated_rows

    x = _random(2, 3, 300, device=device, seed=1)
    shift, scale = (_random(2, 1, 300, device=device, seed=2 + i) / 4 for i in range(2))
    y, codes, row_scales = modulated_rows(x, shift, scale)
    expected = modulated(x.float(), shift.float(), scale.float())
    return _near(y, expected) and torch.allclose(
        (codes.float() * row_scales), y.reshape(6, 300).float(), rtol=0.07, atol=0.01
    )


def _gelu(device: torch.device) -> bool:
    from flenwheel_core.kernels.gelu import gelu_rows

    wide = _random(2, 3, 1700, device=device, seed=1)
    before, pre = _random(2, 3, 200, device=device, seed=2), wide[..., 200:]
    bent = torch.nn.functional.gelu(pre.float(), approximate="tanh")
    for first, expected in ((before, torch.cat([before.float(), bent], -1)), (None, bent)):
        x, codes, scales = gelu_rows(first, pre)
        if not _near(x, expected) or not _near(codes.float() * scales, x.reshape(6, -1), 0.06):
            return False
    return True


_CHECKS: dict[str, Callable[[torch.device], bool]] = {
    "quantise": _quantise,
    "transpose": _transpose,
    "add": _add,
    "vector": _vector,
    "heads": _heads,
    "modulated": _modulated,
    "gelu": _gelu,
}
KERNELS = tuple(_CHECKS)
"""Names of the kernels."""
