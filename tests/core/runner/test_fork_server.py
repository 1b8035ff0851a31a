"""What the fork server imports: nearly all that stages need, and nothing that a fork would not survive."""

import json
import subprocess
import sys

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.runner.launch import child_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stages are forked on Linux only")

_SCRIPT = """
import json, sys, threading
from flenwheel_core.runner.fork_server import why_unfit
from flenwheel_core.runner.libraries import import_libraries
import_libraries(card=False)
fit = why_unfit()
before = set(sys.modules)
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.registry import open_captioner, open_editor, open_generator
for open_model in (open_generator, open_editor, open_captioner):
    with open_model("nano", Settings()):
        pass
heavy = ("torch", "torchvision", "transformers", "diffusers", "peft", "accelerate", "scipy")
late = sorted(name for name in set(sys.modules) - before if name.split(".")[0] in heavy)
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(json.dumps({"fit": fit, "late": late, "with a thread": why_unfit()}))
"""


def test_models_are_opened_with_what_is_already_imported_and_threads_are_noticed(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=child_environment(settings, None),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["fit"] == ""
    assert "threads run beside" in told["with a thread"]
    assert len(told["late"]) <= 20, told["late"]
