"""What a process holds is its own, not what the one that started it held."""

import os
import subprocess
import sys

from benchmarks.kit.memory import descendants, memory_mib

HELD = "held = bytearray(48 * 2**20); held[::4096] = b'x' * (len(held) // 4096); print('held', flush=True); input()"


def test_a_childs_peak_is_its_own() -> None:
    here = bytearray(64 * 2**20)
    here[::4096] = b"x" * (len(here) // 4096)
    with subprocess.Popen(
        [sys.executable, "-S", "-c", HELD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        assert child.pid in set(descendants()) and os.getpid() not in set(descendants())
        held = memory_mib(child.pid)
        child.communicate("\n")
    assert 48 <= held < 48 + 40 and memory_mib(os.getpid()) > 64
    assert memory_mib(child.pid) == 0, "it is gone"
