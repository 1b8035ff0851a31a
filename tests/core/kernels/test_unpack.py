"""What unpacking NF4 to fp8 costs in precision; the kernel itself is tried in test_triton.py and tests/gpu."""

from typing import cast

import pytest
import torch

from flenwheel_core.kernels import frozen_product
from flenwheel_core.kernels import kernel as kernel_module
from flenwheel_core.kernels.frozen_product import fp8_product_backward
from flenwheel_core.kernels.frozen_weights import Nf4Weight, dequantise, scaled_product, store
from flenwheel_core.kernels.kernel import NO_FP8, State
from flenwheel_core.kernels.quantise import quantise
from flenwheel_core.kernels.unpack import UNPACK, plain_unpack_rows, unpacks_on_card

CARD = torch.device("cuda", 0)


def nf4_weight(outputs: int, inputs: int) -> Nf4Weight:
    torch.manual_seed(0)
    return cast(Nf4Weight, store(torch.randn(outputs, inputs) / 16, torch.randn(outputs), "nf4"))


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_fp8_takes_little_beside_what_nf4_took() -> None:
    torch.manual_seed(0)
    exact = torch.randn(128, 256) / 16
    weight = cast(Nf4Weight, store(exact, torch.zeros(128), "nf4"))
    codes, scale = plain_unpack_rows(weight)
    by_nf4, by_both = distance(dequantise(weight, torch.float32), exact), distance(codes.float() * scale, exact)
    assert 0.07 < by_nf4 < by_both < 1.06 * by_nf4


def test_products_in_fp8_are_near_those_in_full_precision() -> None:
    weight, x, dy = nf4_weight(128, 256), torch.randn(40, 256), torch.randn(40, 128)
    plain = dequantise(weight, torch.float32)
    forward = scaled_product(*quantise(x, None), *plain_unpack_rows(weight), weight.bias)
    assert distance(forward, x @ plain.t() + weight.bias) < 0.05
    assert distance(fp8_product_backward(dy, *plain_unpack_rows(weight), None, None, None), dy @ plain) < 0.05


@pytest.mark.parametrize("ranked", [False, True])
def test_the_operators_multiply_in_fp8_where_the_kernel_works(ranked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's place is taken by its plain version: no card is here."""
    unpacked: list[Nf4Weight] = []

    def plainly(weight: Nf4Weight) -> tuple[torch.Tensor, torch.Tensor]:
        unpacked.append(weight)
        return plain_unpack_rows(weight)

    monkeypatch.setattr(frozen_product, "unpacks_on_card", lambda _weight: True)
    monkeypatch.setattr(frozen_product, "unpack_rows", plainly)
    weight, x, dy = nf4_weight(128, 256), torch.randn(40, 256), torch.randn(40, 128)
    plain, packed = dequantise(weight, torch.float32), (weight.packed, weight.absmax, weight.shape, weight.bias)
    left, up, down = torch.randn(40, 4), torch.randn(4, 128), torch.randn(4, 256)
    forward = frozen_product.nf4_product(x, *packed, *((left, up) if ranked else (None, None)))
    backward = frozen_product.nf4_product_backward(dy, *packed, *((left, down) if ranked else (None, None)))
    assert distance(forward, x @ plain.t() + weight.bias + (left @ up if ranked else 0)) < 0.05
    assert distance(backward, dy @ plain + (left @ down if ranked else 0)) < 0.05
    assert len(unpacked) == 2


def test_a_card_without_fp8_products_says_so_and_keeps_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 6))
    state = kernel_module._try_once.__wrapped__(UNPACK, CARD)
    assert state == State(False, NO_FP8) and not state.failed


def test_it_is_taken_for_sizes_that_an_fp8_product_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not unpacks_on_card(nf4_weight(128, 256))  # no card
    monkeypatch.setattr(kernel_module, "_try", lambda *_: State(True))
    assert unpacks_on_card(nf4_weight(128, 256))
    assert not unpacks_on_card(nf4_weight(120, 256)) and not unpacks_on_card(nf4_weight(128, 96))
