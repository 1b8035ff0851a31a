"""`flenwheel recipe check` says usable of what a turn could use, and never shows a stack trace."""

from pathlib import Path

import pytest

from deployments.cli.app import main
from flenwheel_core.base.settings import Settings
from flenwheel_core.recipes.loading import find_recipe


@pytest.fixture(autouse=True)
def workspace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out = capsys.readouterr()
    return int(ended.value.code or 0), out.out, out.err


def test_a_usable_recipe_is_said_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "recipe", "check", "flux_character_24gb")
    assert code == 0 and "usable recipe" in out and "pinned to the commit" in out


def test_all_that_is_wrong_is_listed_without_a_stack_trace(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = find_recipe("nano").read_text()
    path.write_text(text.replace("steps = 400", "steps = true").replace("[train]\n", "[train]\ntext_token = 3\n"))
    code, out, err = run(capsys, "recipe", "check", str(path))
    assert code == 1 and "did you mean text_tokens" in err and not out
    path.write_text(text.replace('base = "nano"', 'base = "/"').replace('editor = "nano"', 'editor = "a/b"'))
    code, out, err = run(capsys, "recipe", "check", str(path))
    assert code == 1 and "models.base" in err and "models.editor" in err and "usable recipe (" not in out
    for odd in ("a = " + "[" * 10_000, "a = " + "9" * 5_000):
        path.write_text(odd)
        code, out, err = run(capsys, "recipe", "check", str(path))
        assert code == 1 and "is no TOML file" in err and "Traceback" not in err
    path.write_bytes(b"\xff\xfe\x00")
    code, _, err = run(capsys, "recipe", "show", str(path))
    assert code == 1 and "Traceback" not in err
