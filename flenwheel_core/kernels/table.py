"""All kernels: the one list that the log, `flenwheel doctor`, the tests and the speed check go by."""

import threading
from collections.abc import Collection
from contextlib import suppress

import torch

from flenwheel_core.kernels.add import ADD
from flenwheel_core.kernels.attention import ATTENTION
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.kernels.gelu import GELU
from flenwheel_core.kernels.heads import HEADS
from flenwheel_core.kernels.kernel import NO_CARD, Kernel
from flenwheel_core.kernels.modulated import MODULATED
from flenwheel_core.kernels.quantise import QUANTISE
from flenwheel_core.kernels.transpose import TRANSPOSE
from flenwheel_core.kernels.unpack import UNPACK
from flenwheel_core.kernels.vector import VECTOR

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel for kernel in (QUANTISE, TRANSPOSE, UNPACK, ADD, VECTOR, HEADS, MODULATED, GELU, ATTENTION)
}

_AHEAD: list[threading.Thread] = []
"""What tries the kernels beside other work, once in a process."""


def kernel_works(name: str, device: torch.device) -> bool:
    """True if the kernel of this name is used on this device."""
    return KERNELS[name].works(device)


def try_ahead(device: torch.device) -> None:
    """Begins to try all kernels beside what a stage loads: the first time each is compiled. Nothing without a card."""
    if device.type == "cuda" and not _AHEAD:
        # Its modules import each other in circles: imported by two threads at once, one of them finds a half of it.
        import torch._dynamo  # noqa: F401

        _AHEAD.append(threading.Thread(target=_try_all, args=(device,), name="kernels", daemon=True))
        _AHEAD[0].start()


def _try_all(device: torch.device) -> None:
    with suppress(Exception):  # who asks for a kernel tries it again and says what is wrong
        for kernel in (ATTENTION, *KERNELS.values()):  # memory plans ask for attention first
            kernel.works(device)


def kernel_line(device: torch.device, *, weights: Collection[Storage] | None = None, cudnn: bool = True) -> str:
    """A line for the log: which kernels run on this device, which do not, and why.

    With `weights` only those are named, and tried, that weights in these storages use; without `cudnn` attention was not asked for.
    """
    for thread in _AHEAD:
        thread.join()  # nothing else may use the card while steps are recorded
    wanted = [
        kernel
        for kernel in KERNELS.values()
        if (weights is None or not kernel.weights or not {*weights}.isdisjoint(kernel.weights))
        and (cudnn or kernel != ATTENTION)
    ]
    states = {kernel.name: kernel.state(device) for kernel in wanted}
    if all(state.reason == NO_CARD for state in states.values()):
        return f"kernels: none, PyTorch computes everything ({NO_CARD})"
    running = ", ".join(name for name, state in states.items() if state.works) or "none"
    off = [f"{name} off ({state.reason})" for name, state in states.items() if not state.works]
    return "; ".join([f"kernels: {running}", *off])
