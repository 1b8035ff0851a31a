"""`flenwheel compare-bases` on the nano world: real trainings and benchmarks of two recipes, one table."""

from pathlib import Path

import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Character, CharacterFacts, Library, PoolEntry
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.store import Store
from tests.kit.command_line import run
from tests.kit.stage_world import HERO, context, ingested, sources, tiny_vision_model

SHORT = """
extends = "nano"
name = "{name}"

[train]
steps = 1
min_epochs = 0.01
batch_size = 1
warmup_steps = 0
prior = {{ method = "off" }}
sampling = {{ every_steps = 0 }}

[train.lora]
rank = {rank}

[generate]
sampler = {{ steps = 1, guidance = 3.5, true_cfg = 1.0, width = 128, height = 128 }}

[benchmark]
seeds_per_cell = 1
"""


@pytest.fixture(autouse=True)
def workspace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")


def recipe(folder: Path, name: str, rank: int = 2) -> str:
    path = folder / f"{name}.toml"
    path.write_text(SHORT.format(name=name, rank=rank))
    return str(path)


def with_pool(settings: Settings) -> None:
    """A character with its sources in the pool, and its fingerprint."""
    stage = context(settings)
    verifier = pin_recipe(load_recipe("nano"), settings, ["verifier"]).models.verifier
    known = ingested(stage, verifier, sources(stage))
    library = Library(Store(settings.store_url))
    library.create_character(
        Character(name=HERO.name, trigger=HERO.trigger, class_word=HERO.class_word, kind=HERO.kind, recipe="nano")
    )
    library.freeze_facts(HERO.name, CharacterFacts(sources=known.sources, fingerprint=known.fingerprint))
    images = stage.store.get_images(known.sources)
    entries = [PoolEntry(image=one, caption=one.caption or "", real=True, turn=1, gate=None) for one in images]
    library.add_to_pool(HERO.name, entries)


@pytest.mark.slow
def test_two_bases_are_trained_on_one_pool_and_measured_on_one_card(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_pool(settings)
    table = tmp_path / "bases.md"
    asked = ("compare-bases", HERO.name, recipe(tmp_path, "small"), recipe(tmp_path, "large", 4))
    one_seed = ("--card", recipe(tmp_path, "card"), "--to", str(table))
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
    small = recipe(tmp_path, "small")
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
