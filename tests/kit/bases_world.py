"""A character of the nano world with a pool, and recipes whose trainings take a step: for comparisons of bases that are real."""

from pathlib import Path

from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Character, CharacterFacts, Library, PoolEntry
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.store import Store
from tests.kit.stage_world import HERO, context, ingested, sources

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


def short_recipe(folder: Path, name: str, rank: int = 2) -> str:
    """The path of such a recipe."""
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
