"""Processes are found by their environment, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kit.processes import processes_with

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads environments, on Linux")


def test_a_process_is_found_by_a_variable_and_its_whole_value(tmp_path: Path) -> None:
    mark = str(tmp_path / "one")
    code = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OF_THIS_TEST": mark},
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        assert processes_with("OF_THIS_TEST", mark) == [process.pid]
        assert processes_with("OF_THIS_TEST", tmp_path) == [] and processes_with("OF_THIS", mark) == []
        process.stdin.close()
        process.wait()
    assert processes_with("OF_THIS_TEST", mark) == []
