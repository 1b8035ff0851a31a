"""One list of kernels: for settings, operators and the log."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from flenwheel_core.base.kernel_names import KERNEL_NAMES
from flenwheel_core.kernels import kernel as kernel_module
from flenwheel_core.kernels import report, table
from flenwheel_core.kernels.attention import ATTENTION
from flenwheel_core.kernels.frozen_product import (
    dense_product,
    fp8_product,
    fp8_product_backward,
    nf4_product,
    nf4_product_backward,
)
from flenwheel_core.kernels.frozen_weights import Fp8Weight, Nf4Weight, store
from flenwheel_core.kernels.kernel import State
from flenwheel_core.kernels.quantise import quantise
from flenwheel_core.kernels.table import KERNELS, kernel_line, kernel_works
from flenwheel_core.kernels.transpose import transposed_codes
from flenwheel_core.kernels.vector import times_vector

CARD = torch.device("cuda", 0)


def test_settings_know_the_names_of_the_table() -> None:
    assert tuple(KERNELS) == KERNEL_NAMES
    assert all(kernel.name == name for name, kernel in KERNELS.items())


def test_every_operator_that_is_named_exists() -> None:
    for kernel in KERNELS.values():
        for op in kernel.ops:
            room, _, name = op.partition("::")
            assert hasattr(getattr(torch.ops, room), name), op


def test_without_a_card_nothing_is_used_and_the_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    cpu = torch.device("cpu")
    assert not any(kernel_works(name, cpu) for name in KERNELS)
    line = "kernels: none, PyTorch computes everything (needs an NVIDIA card)"
    assert kernel_line(cpu) == line
    if not torch.cuda.is_available():
        assert report.main() == 0 and capsys.readouterr().out == line + "\n"


@pytest.fixture
def on_a_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """As on a card where one kernel does not compile and the others run: no card is here to say so."""
    monkeypatch.chdir(tmp_path)

    def found(kernel: kernel_module.Kernel, device: torch.device) -> State:
        return State(kernel.name != "modulated", "" if kernel.name != "modulated" else "does not compile: x")

    monkeypatch.setattr(kernel_module, "_try", found)
    yield


@pytest.mark.usefixtures("on_a_card")
def test_the_line_names_what_runs_and_what_does_not_and_why() -> None:
    assert kernel_line(CARD) == (
        "kernels: quantise, transpose, unpack, add, vector, heads, gelu, attention; modulated off (does not compile: x)"
    )
    assert kernel_line(CARD, weights=("dense",), cudnn=False) == "kernels: add, heads"
    assert (
        kernel_line(CARD, weights=("nf4", "dense"), cudnn=False) == "kernels: quantise, transpose, unpack, add, heads"
    )


@pytest.mark.usefixtures("on_a_card")
def test_kernels_are_tried_beside_other_work_once_and_the_line_waits_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_AHEAD", [])
    may_end, tried = threading.Event(), list[str]()

    def slowly(kernel: kernel_module.Kernel, device: torch.device) -> State:
        assert may_end.wait(240)
        tried.append(kernel.name)
        return State(True)

    monkeypatch.setattr(kernel_module, "_try", slowly)
    table.try_ahead(torch.device("cpu"))
    assert not table._AHEAD
    table.try_ahead(CARD)
    table.try_ahead(CARD)
    assert len(table._AHEAD) == 1 and not tried
    threading.Timer(0.2, may_end.set).start()
    kernel_line(CARD, weights=("dense",), cudnn=False)
    assert tried[0] == ATTENTION.name and tried[1 : 1 + len(KERNELS)] == list(KERNELS)


def test_what_torch_imports_in_circles_is_there_before_a_second_thread_imports_too() -> None:
    """Else either thread may find a half of it, and diffusers cannot be imported any more."""
    begin = "import sys, torch; from flenwheel_core.kernels import table; import threading; threading.Thread.start = lambda self: None\n"
    code = begin + "table.try_ahead(torch.device('cuda')); print('torch._dynamo.convert_frame' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert said.stdout.strip() == "True"


def test_shape_functions_say_what_the_operators_give() -> None:
    torch.manual_seed(0)
    x, dy, left, right = torch.randn(6, 64), torch.randn(6, 128), torch.randn(6, 4), torch.randn(4, 128)
    weight, bias, back = torch.randn(128, 64), torch.randn(128), torch.randn(4, 64)
    fp8, nf4 = store(weight, bias, "fp8"), store(weight, bias, "nf4")
    assert isinstance(fp8, Fp8Weight) and isinstance(nf4, Nf4Weight)
    codes, scale = quantise(x, None)
    packed = nf4.packed, nf4.absmax, nf4.shape, nf4.bias
    cases = [
        (quantise, (x, None)),
        (quantise, (x, torch.rand(64))),
        (times_vector, (x, fp8.codes, fp8.scale, bias)),
        (fp8_product, (codes, scale, fp8.codes, fp8.scale, bias, left, right, 1, 0, torch.float32)),
        (fp8_product, (codes, scale, fp8.codes, fp8.scale, bias, None, None, 1, 0, torch.bfloat16)),
        (fp8_product_backward, (dy, fp8.codes, fp8.scale, None, left, back)),
        (fp8_product_backward, (dy, fp8.codes, fp8.scale, transposed_codes(fp8.codes), None, None)),
        (nf4_product, (x, *packed, left, right)),
        (nf4_product_backward, (dy, *packed, left, back)),
        (dense_product, (x, weight, bias, left, right)),
    ]
    for op, arguments in cases:
        torch.library.opcheck(op, arguments, test_utils="test_faketensor")
