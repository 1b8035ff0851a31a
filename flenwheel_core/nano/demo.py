"""The pictures a demo starts from: one drawn character, as a user would bring it."""

import dataclasses
import json
from pathlib import Path

from PIL import ImageFilter

from flenwheel_core.base.errors import InputError
from flenwheel_core.nano.reviewer import Truth
from flenwheel_core.nano.world import View, caption, make_character, render, source_views
from flenwheel_core.nano.world.version import shipped_world

FIRST_HELD_OUT_SEED = 1_000_000
"""Characters from this seed on were never used to train the nano models."""
STRANGER_STEP = 40_000
"""How far the seed of the stranger lies who got into the sources of world 2."""


def write_sources(
    folder: Path, seed: int, *, trigger: str, class_word: str, number: int = 12, side: int = 128
) -> Truth:
    """Renders the source pictures of a held-out character into a folder, with captions beside them.

    In world 2 as people bring them: the last but one is out of focus, the last is of somebody else under the character's name.
    Returns what the renderer knows, for the simulated reviewer. Raises InputError for a seed the models were trained on.
    """
    if seed < FIRST_HELD_OUT_SEED:
        raise InputError(
            f"The character {seed} is one the nano models were trained on.",
            why="a demo on it would prove nothing.",
            remedy=f"Choose a seed from {FIRST_HELD_OUT_SEED} on.",
        )
    character = make_character(seed)
    folder.mkdir(parents=True, exist_ok=True)
    known: dict[str, View] = {}
    world = shipped_world()
    for index, view in enumerate(source_views(seed, number)):
        name = f"{index:02d}-{view.angle}-{view.expression}.png"
        stranger = world > 1 and index == number - 1
        shown = render(make_character(seed + STRANGER_STEP) if stranger else character, view, size=side)
        if world > 1 and index == number - 2:
            shown = shown.filter(ImageFilter.GaussianBlur(side * 0.02))
        shown.save(folder / name)
        text = caption(character, view, name=f"{trigger} {class_word}")
        (folder / name).with_suffix(".txt").write_text(text + "\n")
        if not stranger:
            known[name] = view
    return Truth(character_seed=seed, source_views=known)


def save_truth(path: Path, truth: Truth) -> None:
    """Writes what the renderer knows beside the workspace, never into the store."""
    views = {name: dataclasses.asdict(view) for name, view in truth.source_views.items()}
    path.write_text(json.dumps({"character_seed": truth.character_seed, "source_views": views}, indent=1))


def load_truth(path: Path) -> Truth:
    """Reads what save_truth wrote."""
    content = json.loads(path.read_text())
    views = {name: View(**view) for name, view in content["source_views"].items()}
    return Truth(character_seed=content["character_seed"], source_views=views)
