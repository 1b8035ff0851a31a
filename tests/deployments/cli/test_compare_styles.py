"""`flenwheel compare-styles` and `flenwheel ingest --kind style`: what is wrong is said before anything is drawn."""

from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.nano.paintings import painting
from flenwheel_core.store import Store
from tests.kit.command_line import run
from tests.kit.style_world import studied_style


@pytest.fixture(autouse=True)
def workspace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")


def test_mistakes_are_said_before_anything_is_drawn(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(settings.store_url)
    assert "There is no character 'nobody'" in run(capsys, "compare-styles", "nobody")[2]
    rex = Character(name="rex", trigger="ohwx_rex", class_word="dog", kind="subject", recipe="nano")
    Library(store).create_character(rex)
    code, _, err = run(capsys, "compare-styles", "rex")
    assert code == 1 and "a character, no style" in err and "compare-bases" in err
    studied_style(store)
    assert "monet has no champion yet" in run(capsys, "compare-styles", "monet")[2]


def test_a_recipe_for_characters_is_refused_for_a_style_and_the_other_way_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "paintings"
    folder.mkdir()
    painting(601, 1).save(folder / "1.png")
    given = ("ingest", "monet", str(folder), "--recipe")
    assert "no [style] table" in run(capsys, *given, "nano", "--kind", "style")[2]
    assert "one for styles" in run(capsys, *given, "nano_style", "--kind", "subject")[2]
    code, _, err = run(capsys, *given, "nano", "--kind", "painting")
    assert code == 1 and "person, subject, style" in err
    code, out, err = run(capsys, *given, "nano_style", "--kind", "style")
    assert code == 1 and "11 more usable pictures" in out, err
    shown = run(capsys, "character", "show", "monet")[1]
    assert "trigger ohwx_style, class word style, kind style, recipe nano_style" in shown
