"""`flenwheel compare-bases` on the nano world: real trainings and benchmarks of two recipes, one table."""

from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.store import Store
from tests.kit.bases_world import short_recipe, with_pool
from tests.kit.command_line import run
from tests.kit.stage_world import HERO, tiny_vision_model


@pytest.fixture(autouse=True)
def workspace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")


@pytest.mark.slow
def test_two_bases_are_trained_on_one_pool_and_measured_on_one_card(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_pool(settings)
    table = tmp_path / "bases.md"
    asked = ("compare-bases", HERO.name, short_recipe(tmp_path, "small"), short_recipe(tmp_path, "large", 4))
    one_seed = ("--card", short_recipe(tmp_path, "card"), "--to", str(table))
    code, out, err = run(capsys, *asked, *one_seed)
    assert code == 0, err
    assert out.count("first-try pass rate") == 3 and "passes most often" in out
    text = table.read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| small", "| large"))]
    assert len(rows) == 2 and all("| nano |" in row and "Apache-2.0" in row and " to " in row for row in rows)
    assert Library(Store(settings.store_url)).champion(HERO.name) is None
    again = run(capsys, *asked, *one_seed)  # nothing is trained or drawn again
    assert again[0] == 0 and table.read_text() == text and "step" not in again[2]


def test_mistakes_are_said_before_anything_is_trained(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = short_recipe(tmp_path, "small")
    assert "There is no character" in run(capsys, "compare-bases", "nobody", small, small)[2]
    with_pool(settings)
    for arguments, said in (
        ((small,), "two recipes at least"),
        ((small, small), "Two recipes are called small"),
        ((small, "nanoo"), "Did you mean nano?"),
        ((small, "nano", "--to", str(tmp_path / "no" / "a.md")), "There is no folder"),
    ):
        code, _, err = run(capsys, "compare-bases", HERO.name, *arguments)
        assert code == 1 and said in err and "What to do" in err
    other = tmp_path / "other.toml"
    other.write_text(
        f'extends = "nano"\nname = "other"\n[models]\nverifier = "{tiny_vision_model(tmp_path / "dino")}"\n'
    )
    assert "another verifier" in run(capsys, "compare-bases", HERO.name, small, "nano", "--card", str(other))[2]
    broken = tmp_path / "broken.toml"
    broken.write_text('extends = "nano"\nname = "broken"\n[models]\nbase = "/nowhere"\n')
    assert "broken cannot run here" in run(capsys, "compare-bases", HERO.name, small, str(broken))[2]
    scheduled = ("compare-bases", HERO.name, small, "nano", "--schedule")
    assert "writes no file" in run(capsys, *scheduled, "--to", str(tmp_path / "a.md"))[2]
    assert "No server runs" in run(capsys, *scheduled)[2]
