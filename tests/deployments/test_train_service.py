"""The training service in a running workspace: the lines of docs/service.md order a LoRA and get its address."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.kit.workspace import PROJECT, Running
from flenwheel_core.base.services import load_services
from flenwheel_core.library.orders import Orders


@pytest.mark.slow
def test_the_client_of_the_docs_orders_a_lora_once(running: Running, tmp_path: Path) -> None:
    example = re.findall(r"```python\n(.*?)```", (PROJECT / "docs" / "service.md").read_text(), re.DOTALL)[0]
    assert len([line for line in example.splitlines() if line]) <= 10
    for number in range(12):
        Image.new("RGB", (16, 16), (number * 20, 9, 80)).save(tmp_path / f"photo {number:02}.png")
    services = load_services(running.settings)
    assert services is not None

    def ask() -> str:
        done = subprocess.run(
            [sys.executable, "-c", example, str(tmp_path), "a key"],
            env={**running.environment(), "STUDIO": services.studio_url},
            capture_output=True, text=True, check=True, timeout=600,
        )  # fmt: skip
        return done.stdout.strip()

    first = ask()
    status, state, address = first.split(" ", 2)
    assert (status, state) == ("200", "succeeded"), running.worker_log()
    assert address.startswith("file://") and Path(address.removeprefix("file://")).stat().st_size > 60
    trained = [line for line in running.stage_runs() if line.stage == "train" and line.event == "finished"]
    assert ask() == first
    again = [line for line in running.stage_runs() if line.stage == "train" and line.event == "finished"]
    assert again == trained and Orders(running.store).open_orders() == {}
