"""A stage's process stays within what the settings give it, whatever it opens."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.gpu

TRY = """
import torch
from flenwheel_core.memory.card import is_out_of_memory, limit_process
from flenwheel_core.base.settings import Settings

card = limit_process(Settings(vram_gib=4.0))
assert 3.0 < card.usable_gib < 4.0, card
kept = torch.empty(2 * 2**30, dtype=torch.uint8, device="cuda")
try:
    torch.empty(2 * 2**30, dtype=torch.uint8, device="cuda")
except Exception as error:
    assert is_out_of_memory(error), error
else:
    raise AssertionError("more than allowed was given")
"""


def test_an_allocation_beyond_the_limit_is_refused() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", TRY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
