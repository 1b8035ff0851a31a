"""Every notebook runs from its first cell to its last on the nano models, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.unsloth_stand_in import write_interpreter

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))
SAID = {
    "qlora_qwen_vl_7B_smoke_test.ipynb": (
        "All 15 hold.",
        "after:  smiling, studio background",
        "after:  sad, beach background",
    ),
    "qlora_qwen_vl_7B_unsloth_smoke_test.ipynb": ("trained by unsloth:", "All 15 hold.", "batch 2: "),
    "qwen_vl_qlora_batchsize_memory_test.ipynb": ("step_seconds", "b1_r64"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_cell_runs(name: str, tmp_path: Path) -> None:
    cells = json.loads((FOLDER / name).read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown" and not any(cell.get("outputs") for cell in cells)
    program = tmp_path / "cells.py"
    program.write_text("\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    given = {"FLENWHEEL_GPU": "cpu", "FLENWHEEL_NOTEBOOK_MODEL": "nano", "FLENWHEEL_NOTEBOOK_SECONDS": "1"}
    # Unsloth trains vision models on a card only: a stand-in by transformers and PEFT runs every cell all the same.
    given["FLENWHEEL_UNSLOTH_PYTHON"] = str(write_interpreter(tmp_path / "unsloth_python"))
    folders = {"TMPDIR": str(tmp_path), "FLENWHEEL_WORKSPACE": str(tmp_path / "workspace")}
    done = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | given | folders | {"PYTHONPATH": str(FOLDER.parent)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert all(said in done.stdout for said in SAID[name]), done.stdout[-2000:]
