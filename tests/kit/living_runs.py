"""Processes that belong to a run."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from flenwheel_core.base.settings import Settings

HOLD = """
import sys
from pathlib import Path
from flenwheel_core.runner.flow_run import living
from flenwheel_core.base.settings import Settings
with living(Settings(workspace=Path(sys.argv[1])), sys.argv[2]):
    print("lives", flush=True)
    sys.stdin.read()
"""


@contextmanager
def process_of(settings: Settings, run: str, *before: str) -> "Iterator[subprocess.Popen[str]]":
    """A living process of a run; `before` is a command that starts it in another world."""
    command = [*before, sys.executable, "-c", HOLD, str(settings.root), run]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "lives\n"
        try:
            yield process
        finally:
            process.kill()
