"""The entry point for Modal, called as the ordinary function that it is here. Nothing was tried on that cloud."""

import json
from pathlib import Path

import pytest

from deployments.injection import run as injection
from deployments.injection.modal_runner import injection_poc
from tests.kit.injection_world import photo_folder
from tests.kit.run_here import run_here


def test_the_documents_call_gives_the_documents_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")
    monkeypatch.setattr(injection, "run_in_child", run_here)
    folders = ",".join(str(photo_folder(tmp_path / name, seed, 1)) for name, seed in (("seed_1", 1), ("seed_2", 2)))
    said = injection_poc(
        seed_dirs=folders,
        train=True,
        epochs=1,
        alphas="1.0",
        gen_seeds="5",
        steps=1,
        height=128,
        width=128,
        out_dir=str(tmp_path / "out"),
        models="nano,nano",
    )
    assert "Nothing was measured" in said
    for name in ("seed_1", "seed_2"):
        facts = json.loads((tmp_path / "out" / "generations" / f"{name}_meta.json").read_text())
        assert facts["identity"] == name and len(facts["cells"]) == 2
    said = injection_poc(seed_dirs=folders, base_prompt="a cat", models="nano,nano", out_dir=str(tmp_path / "out"))
    assert "does not say" in said
    assert "--words" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"epochs": 2_000_000}, {"batch_size": 0}, {"steps": 0}])
def test_impossible_numbers_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: dict[str, int]
) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")
    monkeypatch.setattr(injection, "run_in_child", run_here)
    folder = str(photo_folder(tmp_path / "seed_1", 1, 1))
    asked: dict[str, int | str | bool] = {"models": "nano,nano", "train": True, "out_dir": str(tmp_path / "out")}
    said = injection_poc(seed_dirs=folder, height=128, width=128, **{"steps": 1, **asked, **wrong})
    assert said.startswith("This is not a possible") and next(iter(wrong)) in said
    out = capsys.readouterr().out
    assert said in out and "inject_train" not in out, "before anything is trained"
