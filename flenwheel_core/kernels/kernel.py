"""What a kernel is here: a faster way to compute something, used only where it has shown that it computes the same.

Every kernel is tried once in a process, on a few numbers, on the card it would run on. One that does not compile, fails or computes
something else is left out, and PyTorch's own operations take its place. That costs speed, so it is never silent: the reason is kept, logged
once as a warning, and shown in the log of every training and drawing (`table.kernel_line`) and by `flenwheel doctor`.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from flenwheel_core.base.errors import first_line
from flenwheel_core.base.kernel_names import ALL
from flenwheel_core.base.settings import Settings

_LOG = logging.getLogger(__name__)
NO_CARD = "needs an NVIDIA card"
NO_FP8 = "needs a card that multiplies fp8 (RTX 40 series and later)"
TURNED_OFF = "turned off by FLENWHEEL_KERNELS_OFF"
WRONG = "computes other values than PyTorch"
_LONGEST = 160
_TRYING = threading.RLock()


@dataclass(frozen=True)
class State:
    """Whether a kernel is used on a device, and if not, why."""

    works: bool
    reason: str = ""

    @property
    def failed(self) -> bool:
        """True if it should work here and does not."""
        return not self.works and self.reason not in (NO_CARD, NO_FP8, TURNED_OFF)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel by name, and how it is tried."""

    name: str
    """One of `base.kernel_names.KERNEL_NAMES`."""
    what: str
    """What it computes, in a few words."""
    check: Callable[[torch.device], bool]
    """True if it gives on this device what PyTorch's own operations give; it may raise anything."""
    ops: tuple[str, ...] = ()
    """The custom operators that take it."""
    weights: tuple[str, ...] = ()
    """The storages of weights that it is used with; none named: all."""
    multiplies_fp8: bool = False
    """Used on cards only that multiply fp8."""

    def works(self, device: torch.device) -> bool:
        """True if it is used on this device. Raises RecipeError for settings that cannot be read."""
        return self.state(device).works

    def state(self, device: torch.device) -> State:
        """The same with the reason. Found out once in a process."""
        return _try(self, device)


def multiplies_fp8(device: torch.device) -> bool:
    """True on Ada and later."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


def _try(kernel: Kernel, device: torch.device) -> State:
    """One at a time: who asks while `table.try_ahead` is at it waits for its answer."""
    with _TRYING:
        return _try_once(kernel, device)


@lru_cache(maxsize=256)
def _try_once(kernel: Kernel, device: torch.device) -> State:
    if device.type != "cuda":
        return State(False, NO_CARD)
    off = Settings().kernels_off
    if kernel.name in off or ALL in off:
        return State(False, TURNED_OFF)
    try:
        if kernel.multiplies_fp8 and not multiplies_fp8(device):
            return State(False, NO_FP8)
        with torch.no_grad():
            right = kernel.check(device)
        if right:
            torch.cuda.synchronize(device)
    except torch.OutOfMemoryError:
        raise  # says nothing about the kernel, and a tighter memory plan can help
    except Exception as error:  # whatever Triton, its compiler or the driver raise: there is another way
        _LOG.debug("the kernel %s", kernel.name, exc_info=error)
        state = State(False, _reason(error))
    else:
        state = State(True) if right else State(False, WRONG)
    if not state.works:
        _LOG.warning("kernel %s is left out, PyTorch takes its place: it %s", kernel.name, state.reason)
    return state


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"cannot be imported: {first_line(error)}"[:_LONGEST]
    kind = f"{type(error).__module__}.{type(error).__name__}".lower()
    verb = "does not compile" if "compil" in kind or "ptxas" in kind else "fails"
    return f"{verb}: {type(error).__name__}: {first_line(error)}"[:_LONGEST]


def sample(*shape: int, device: torch.device, seed: int) -> torch.Tensor:
    """Random numbers in bfloat16, for checks: the same for the same seed."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.randn(shape, device=device, generator=generator, dtype=torch.float32).bfloat16()


def near(got: torch.Tensor, expected: torch.Tensor, within: float = 0.02) -> bool:
    """Equal but for roundings: the error's length, as a share of the expected."""
    return bool((got.float() - expected.float()).norm() <= within * expected.float().norm())
