"""A run's process is known by the lock it holds, and says why it ended as far as it can."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.runner.flow_run import lives, living, run_note, run_processes
from tests.kit.living_runs import HOLD, process_of


def test_a_run_lives_until_its_process_is_killed(settings: Settings) -> None:
    with process_of(settings, "one") as process:
        assert lives(settings, "one") and run_processes(settings) == {"one": process.pid}
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not lives(settings, "one") and run_processes(settings) == {}
    note = run_note(settings, "one")
    assert note is not None and note.ended == "", "a killed process says nothing"


def test_a_process_with_another_host_name_is_seen(settings: Settings) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "--uts", "true"], check=False).returncode != 0:
        pytest.skip("another host name needs root")
    other = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh")
    with process_of(settings, "one", *other):
        note = run_note(settings, "one")
        assert lives(settings, "one") and note is not None and note.host == "elsewhere"


def test_a_second_process_of_a_run_waits_for_the_first(settings: Settings) -> None:
    with process_of(settings, "one"):
        command = [sys.executable, "-c", HOLD, str(settings.root), "one"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second:
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(1.5)
            second.kill()


def test_an_error_is_noted_with_its_cause(settings: Settings) -> None:
    with pytest.raises(SystemExit), living(settings, "one"):
        try:
            raise OSError("Server error 500")
        except OSError:
            sys.exit(1)
    note = run_note(settings, "one")
    assert note is not None and note.ended == "OSError: Server error 500" and note.pid == os.getpid()
    with pytest.raises(SystemExit), living(settings, "one"):
        sys.exit(0)
    note = run_note(settings, "one")
    assert note is not None and note.ended == ""


def test_the_end_is_noted_on_a_disk_that_is_full(settings: Settings, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        settings = settings.model_copy(update={"workspace": small})
        with pytest.raises(RuntimeError), living(settings, "one"):
            with pytest.raises(OSError, match="No space"):
                (small / "fill").write_bytes(bytes(2 * 2**20))
            raise RuntimeError("Server error 500")
        note = run_note(settings, "one")
        assert note is not None and note.ended == "RuntimeError: Server error 500; the disk of the workspace is full"
    finally:
        subprocess.run(["umount", str(small)], check=True)
