"""Fixtures that many tests share."""

from pathlib import Path

import pytest

from flenwheel_core.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a fresh workspace without a card; nothing from the machine's own environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    return Settings(workspace=tmp_path / "workspace", gpu="cpu", author="tester", stage_modules=("tests.stages",))
