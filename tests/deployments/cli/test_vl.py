"""`flenwheel vl`: the proofs on the nano model, and what is refused."""

import json
from pathlib import Path

import pytest

from deployments.cli.app import main
from flenwheel_core.base.settings import Settings


@pytest.fixture
def here(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")


@pytest.mark.slow
def test_the_nano_model_is_proven(here: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(("vl", "prove", "nano", "--out", str(tmp_path / "proofs.json")))
    assert ended.value.code == 0 and "All 15 hold." in capsys.readouterr().out
    report = json.loads((tmp_path / "proofs.json").read_text())
    assert len(report["proofs"]) == 15 and all(proof["holds"] for proof in report["proofs"])


def test_a_folder_without_a_model_is_refused(here: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("prove", "memory"):
        with pytest.raises(SystemExit) as ended:
            main(("vl", command, str(tmp_path / "nothing")))
        assert ended.value.code == 1 and "There is no model folder" in capsys.readouterr().err
