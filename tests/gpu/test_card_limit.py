"""On a real card: a process under the limit is refused what a smaller card would refuse it, whichever segments torch asks for."""

import json
import subprocess
import sys

import pytest

from benchmarks.speed.card_limit import limited_card

ALLOCATES = """
import json, sys, torch
torch.cuda.memory._set_allocator_settings(sys.argv[1])
GIB = 2**30
def gib(size):
    return torch.empty(int(size * GIB), dtype=torch.uint8, device="cuda")
free, total = torch.cuda.mem_get_info()
first = gib(2.0)
try:
    gib(1.0)
    refused = False
except torch.OutOfMemoryError:
    refused = True
del first
torch.cuda.empty_cache()
again = gib(2.5)
left = torch.cuda.mem_get_info()[0]
size = torch.cuda.get_device_properties(0).total_memory
print(json.dumps([free / GIB, total / GIB, refused, left / GIB, size / GIB]))
"""


@pytest.mark.parametrize("segments", ["expandable_segments:False", "expandable_segments:True"])
def test_torch_finds_a_smaller_card(segments: str) -> None:
    with limited_card(3.0) as log:
        done = subprocess.run([sys.executable, "-c", ALLOCATES, segments], capture_output=True, text=True, check=True)
        (count,) = log.counts()
    free, total, refused, left, size = json.loads(done.stdout)
    assert (free, total, size) == pytest.approx((2.55, 3.0, 3.0), abs=0.01)
    assert refused and left == pytest.approx(0.05, abs=0.02)
    assert count.refused >= 1 and count.peak_gib == pytest.approx(2.5, abs=0.05)  # segments grow in steps of 20 MiB
