"""The siblings' training from rendered data to folders, in several processes' worth of calls, at the smallest size."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from flenwheel_core.base.errors import InputError
from flenwheel_core.nano.world.version import shipped_world
from tools.nano_training import sibling_check, sibling_data
from tools.nano_training.data import make_data
from tools.nano_training.names import FOLDER, make_names
from tools.nano_training.siblings_run import run
from tools.nano_training.workspace import Run

CHARACTERS, NAMED, PICTURES = 3, 2, 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make_data(folder, characters=CHARACTERS, workers=1, world=shipped_world())
    make_names(folder / FOLDER, characters=NAMED, workers=1, pictures=PICTURES, world=shipped_world())
    return folder


@pytest.fixture(autouse=True)
def _quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sibling_check, "STEPS", 1)
    monkeypatch.setattr(sibling_check, "SHIFTS", (3.0,))


def asked(data: Path, work: Path, *, seconds: float, steps: int, whole: float | None = None, names: int = 3) -> Run:
    return Run(
        data=data,
        work=work,
        seconds=seconds,
        started=time.monotonic(),
        device=torch.device("cpu"),
        batch=2,
        max_steps=steps,
        named=NAMED,
        named_pictures=names,
        whole_seconds=whole,
        world=shipped_world(),
    )


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.relative_to(folder)} {name}": tensor
        for path in folder.rglob("*.safetensors")
        for name, tensor in load_file(path).items()
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # autocast on a CPU: slower, and right
def test_training_is_stopped_goes_on_and_is_measured(data: Path, tmp_path: Path) -> None:
    run(asked(data, tmp_path, seconds=1, steps=2, whole=400))
    record = json.loads((tmp_path / "siblings.json").read_text())
    assert record["steps"] == 0 and not (tmp_path / "siblings").exists()  # its time was over before it began

    kept = tmp_path / sibling_data.LATENTS
    encoded, made = np.load(kept), kept.stat().st_mtime_ns
    assert len(encoded) == CHARACTERS * 20 + NAMED * PICTURES and encoded.astype(np.float32).std() > 0.1
    run(asked(data, tmp_path, seconds=400, steps=2, whole=400))
    assert kept.stat().st_mtime_ns == made, "pictures are encoded once"
    record = json.loads((tmp_path / "siblings.json").read_text())
    assert (record["steps"], record["guided_steps"]) == (2, 2)
    found = json.loads((tmp_path / "siblings_check.json").read_text())
    assert {"klein draws, shift 3.0", "z_image draws, shift 3.0", "klein edits with two, shift 3.0"} <= found.keys()
    base, guided = weights_of(tmp_path / "siblings_base"), weights_of(tmp_path / "siblings")
    assert base.keys() == guided.keys() and any(not torch.equal(base[name], guided[name]) for name in base)

    (tmp_path / "siblings_check.json").unlink()
    run(asked(data, tmp_path, seconds=400, steps=2, whole=400))  # nothing is left to learn
    assert (tmp_path / "siblings_check.json").exists()
    assert all(torch.equal(tensor, guided[name]) for name, tensor in weights_of(tmp_path / "siblings").items())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_guidance_may_be_left_to_those_who_draw(data: Path, tmp_path: Path) -> None:
    run(replace(asked(data, tmp_path, seconds=400, steps=1), guides=False))
    assert (tmp_path / "siblings_base" / "klein").is_dir() and not (tmp_path / "siblings").exists()
    record = json.loads((tmp_path / "siblings.json").read_text())
    assert record["steps"] == 1 and "guided_steps" not in record


@pytest.mark.slow
def test_other_names_than_were_rendered_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sibling_data, "FOLDER", "elsewhere")  # room is made while the names are still being rendered
    with pytest.raises(InputError, match="room was made for"):
        run(asked(data, tmp_path, seconds=1, steps=1, names=50))
