"""Imports what stages need, then waits for its stage and runs it: `python -m flenwheel_core.runner.waiting`.

For stages on a card, which cannot be forked. The request is one line of JSON on standard input, {"argv", "environment", "folder"}; when
standard input ends before, nobody wants a stage any more, and the process ends, as it does after `WAIT_SECONDS`. Until then it holds
nothing of the card: should importing have initialized CUDA, it ends unless its stage is already asked for.
"""

import json
import os
import select
import sys
from collections.abc import Mapping
from pathlib import Path

from flenwheel_core.base.errors import EXIT_DONE
from flenwheel_core.runner import worker
from flenwheel_core.runner.libraries import import_libraries

WAIT_SECONDS = 600.0
"""So long a process keeps its memory for a stage that nobody begins; one that comes later starts anew."""


def main() -> int:
    """The stage's exit code, or 0 if none was asked for."""
    import_libraries(card=True)
    torch = sys.modules.get("torch")
    patience = 0.0 if torch is not None and torch.cuda.is_initialized() else WAIT_SECONDS
    if not select.select([0], [], [], patience)[0]:
        return EXIT_DONE
    line = sys.stdin.readline()
    return run_as_asked(json.loads(line)) if line else EXIT_DONE


def run_as_asked(request: "Mapping[str, object]") -> int:
    """Runs a stage with the arguments, the environment and the folder that were asked for; returns its exit code."""
    argv, environment, folder = request["argv"], request["environment"], request["folder"]
    assert isinstance(argv, list) and isinstance(environment, dict) and isinstance(folder, str)
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    if sys.path[0] == str(Path.cwd()):
        sys.path[0] = folder  # where `python -m` looks first
    os.chdir(folder)
    sys.argv[1:] = argv
    return worker.main(argv)


if __name__ == "__main__":
    sys.exit(main())
