"""`flenwheel compare-styles` and `flenwheel ingest --kind style`: what is wrong is said before anything is drawn."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.library.characters import Character, Library, Promotion
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.paintings import painting
from flenwheel_core.store import Store
from tests.kit.command_line import run
from tests.kit.lora_files import lora_on
from tests.kit.scorecards import card
from tests.kit.style_world import MONET, studied_style

SHORT = """
extends = "nano_style"
name = "short"

[style]
card = ["a person, forest background", "a person, beach background", "a person, night city background", "a person, smiling"]
named = ["watercolor style"]

[generate]
sampler = { steps = 1, guidance = 3.5, true_cfg = 1.0, width = 64, height = 64 }

[benchmark]
seeds_per_cell = 1
"""


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
    site = settings.root / "site"
    site.mkdir()
    (site / "index.html").write_text("mine")
    code, _, err = run(capsys, "compare-styles", "rex", "--page", str(site))
    assert code == 1 and "index.html is no page of a study" in err and (site / "index.html").read_text() == "mine"
    studied_style(store)
    assert "monet has no champion yet" in run(capsys, "compare-styles", "monet")[2]


@pytest.mark.slow
def test_a_page_for_readers_is_written(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(settings.store_url)
    studied_style(store)
    file = LoraRecord(
        digest=store.put_blob(lora_on(weights_folder("flux"), "transformer_blocks.0.attn.to_v")), name="monet-t1-v1",
        target="generator", base_model="nano", trigger=MONET.trigger, class_word=MONET.class_word, rank=2, alpha=2.0,
        steps=1, images=4, dataset="d" * 64, request="e" * 64,
    )  # fmt: skip
    told = Promotion(at=datetime.now(UTC), lora=file, scorecard=card(), turn=1, flow_run="run-1", reasons=())
    Library(store).promote("monet", told)
    recipe = tmp_path / "short.toml"
    recipe.write_text(SHORT)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    asked = ("compare-styles", "monet", "--strengths", "0.5,1.0", "--recipe", str(recipe), "--page")
    code, _, err = run(capsys, *asked, str(taken))
    assert code == 1 and "is no folder" in err and taken.read_text() == "mine"
    code, out, err = run(capsys, *asked, str(tmp_path / "page"))
    assert code == 0, err
    page = (tmp_path / "page" / "index.html").read_text()
    assert "monet-t1-v1 at 0.5" in page and "photographs (given, not drawn)" in page and "index.html" in out
    assert "photographs: style distance" in out and (tmp_path / "page" / "grid.png").exists()


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
