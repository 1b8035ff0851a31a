"""The common training data of all nano models: pictures of training characters with labels, captions and edits.

A folder with `pictures.npy` (uint8, (pictures, 128, 128, 3)), `characters.npy` (int32, (pictures,), character seeds),
`labels.npy` (int8, (pictures, LABELS), -1 where a label does not apply), `captions.txt` (CAPTIONS lines a picture),
`edits.npy` (int32, (edits, 2), source and target row), `edits.txt` (one instruction an edit) and `done`, written last.

Each character has SCENES scenes of SCENE_PICTURES pictures. Pictures of a scene share framing and scenery and differ only
in what words can say, so that every edit within a scene has an exact target.
"""

import argparse
import itertools
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.format import open_memmap

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, POSES
from flenwheel_core.nano.world.captions import caption, extra_attributes
from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.characters import (
    BEARDS,
    BROWS,
    CLOTHINGS,
    EYE_COLOURS,
    FACES,
    GLASSES,
    HAIR_COLOURS,
    HAIRS,
    SKINS,
    Character,
    make_character,
)
from flenwheel_core.nano.world.extras import MARKS, PATTERNS, WORN, WORN_COLOURS
from flenwheel_core.nano.world.instructions import change_between, instruction
from flenwheel_core.nano.world.phrases import OWN
from flenwheel_core.nano.world.render import render
from flenwheel_core.nano.world.views import BACKGROUNDS, LIGHTINGS, STYLES, View, make_edit, make_view
from tools.nano_training.processes import processes

if TYPE_CHECKING:
    from tools.nano_training.workspace import Run

PICTURE_PX = 128
SCENES = 5
SCENE_PICTURES = 4
PICTURES_PER_CHARACTER = SCENES * SCENE_PICTURES
CAPTIONS = 4
PORTRAIT_SHARE = 0.75
CHARACTERS = 10_000

LABELS: dict[str, tuple[str, ...]] = {
    "angle": ANGLES,
    "expression": EXPRESSIONS,
    "pose": POSES,
    "background": BACKGROUNDS,
    "lighting": LIGHTINGS,
    "style": STYLES,
    "clothing": CLOTHINGS,
    "skin": tuple(SKINS),
    "face": FACES,
    "hair": HAIRS,
    "hair_colour": tuple(HAIR_COLOURS),
    "eyes": tuple(EYE_COLOURS),
    "brows": BROWS,
    "glasses": GLASSES,
    "beard": BEARDS,
    "freckles": ("no", "yes"),
    "scar": ("no", "yes"),
    "earrings": ("no", "yes"),
    "left_mark": ("none", *MARKS),
    "right_mark": ("none", *MARKS),
    "pattern": PATTERNS,
    "worn": ("none", *(f"{colour} {worn}" for worn in WORN[1:] for colour in WORN_COLOURS)),
}
"""Columns of `labels.npy` and what their numbers mean."""


def label_values(character: Character, view: View) -> dict[str, str]:
    """What the picture shows, by label; hair colour is missing on bald heads."""
    values = {
        field: getattr(view, field) for field in ("angle", "expression", "pose", "background", "lighting", "style")
    }
    values["clothing"] = view.clothing or character.clothing
    for field in ("skin", "face", "hair", "eyes", "brows", "glasses", "beard"):
        values[field] = getattr(character, field)
    if character.hair != "bald":
        values["hair_colour"] = character.hair_colour
    values["freckles"] = "yes" if character.freckles else "no"
    values["scar"] = "no" if character.scar == "none" else "yes"
    values["earrings"] = "yes" if character.earrings else "no"
    hidden = {"profile-left": "right_mark", "profile-right": "left_mark"}.get(view.angle)
    other_clothing = view.clothing not in (None, character.clothing)
    for name, value in extra_attributes(character).items():
        if name != hidden and not (name == "pattern" and other_clothing):
            values[name] = value
    return values


def label_row(character: Character, view: View) -> list[int]:
    """`label_values` as numbers, in the order of `LABELS`; -1 where one is missing."""
    values = label_values(character, view)
    return [choices.index(values[name]) if name in values else -1 for name, choices in LABELS.items()]


def scenes_of(character_seed: int) -> tuple[tuple[View, ...], ...]:
    """The views of a training character, scene by scene; the first of a scene is the one the others are edits of."""
    scenes = []
    for scene in range(SCENES):
        base = make_view(derive_seed(character_seed, "scene", scene), portrait_share=PORTRAIT_SHARE)
        edits = (
            make_edit(base, derive_seed(character_seed, "scene", scene, edit)) for edit in range(1, SCENE_PICTURES)
        )
        scenes.append((base, *edits))
    return tuple(scenes)


def edits_of(scene: Sequence[View], seed: int) -> list[tuple[int, int, str]]:
    """The edits within a scene as (source, target, instruction); those without one right answer are left out."""
    found = []
    for source, target in itertools.permutations(range(len(scene)), 2):
        change = change_between(scene[source], scene[target])
        if change.clothing == OWN or scene[source] == scene[target]:
            continue
        chance = chance_of(seed, "edit", source, target)
        found.append((source, target, instruction(scene[source], scene[target], rng=chance)))
    return found


def make_data(out: Path, *, characters: int, workers: int | None = None, world: int = 1) -> float:
    """Renders the training data of `characters` characters of a world into the folder `out`; returns the seconds it took."""
    start = time.perf_counter()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    workers = min(workers or os.cpu_count() or 1, characters)
    pictures = characters * PICTURES_PER_CHARACTER
    open_memmap(out / "pictures.npy", mode="w+", dtype=np.uint8, shape=(pictures, PICTURE_PX, PICTURE_PX, 3))
    seeds = np.repeat(np.arange(characters, dtype=np.int32), PICTURES_PER_CHARACTER)
    np.save(out / "characters.npy", seeds)
    open_memmap(out / "labels.npy", mode="w+", dtype=np.int8, shape=(pictures, len(LABELS)))
    shares = [
        (out, part, characters * part // workers, characters * (part + 1) // workers, world) for part in range(workers)
    ]
    with processes(workers) as pool:
        for _ in pool.map(_make_share, shares):
            pass
    for name in ("captions", "edits"):
        with (out / f"{name}.txt").open("wb") as joined:
            for part in range(workers):
                path = out / f"{name}-{part}.txt"
                joined.write(path.read_bytes())
                path.unlink()
    parts = [out / f"edits-{part}.npy" for part in range(workers)]
    np.save(out / "edits.npy", np.concatenate([np.load(path) for path in parts]))
    for path in parts:
        path.unlink()
    (out / "labels.json").write_text(json.dumps(LABELS, indent=1))
    seconds = time.perf_counter() - start
    (out / "done").write_text(
        json.dumps({"characters": characters, "pictures": pictures, "world": world, "seconds": round(seconds, 1)})
    )
    return seconds


def _make_share(share: tuple[Path, int, int, int, int]) -> None:
    """One process's characters: the folder, the number of the part, its first character, the one after its last, and the world."""
    out, part, first, last, world = share
    pictures = np.load(out / "pictures.npy", mmap_mode="r+")
    labels = np.load(out / "labels.npy", mmap_mode="r+")
    captions: list[str] = []
    edits: list[tuple[int, int]] = []
    instructions: list[str] = []
    for seed in range(first, last):
        character = make_character(seed, world)
        for number, scene in enumerate(scenes_of(seed)):
            row = seed * PICTURES_PER_CHARACTER + number * SCENE_PICTURES
            for offset, view in enumerate(scene):
                pictures[row + offset] = np.asarray(render(character, view, PICTURE_PX))
                labels[row + offset] = label_row(character, view)
                captions += training_captions(character, view, derive_seed(seed, "captions", number, offset))
            for source, target, text in edits_of(scene, derive_seed(seed, "edits", number)):
                edits.append((row + source, row + target))
                instructions.append(text)
    (out / f"captions-{part}.txt").write_text("".join(f"{line}\n" for line in captions))
    (out / f"edits-{part}.txt").write_text("".join(f"{line}\n" for line in instructions))
    np.save(out / f"edits-{part}.npy", np.array(edits, dtype=np.int32).reshape(-1, 2))


def training_captions(character: Character, view: View, seed: int) -> list[str]:
    """CAPTIONS captions of a picture in the forms of training; never empty: trainers drop captions themselves."""
    chance = chance_of(seed)
    found: list[str] = []
    while len(found) < CAPTIONS:
        if text := caption(character, view, rng=chance):
            found.append(text)
    return found


def run(run: "Run") -> None:
    """Makes the data folder with the usual number of characters; the common command line's part `data`."""
    make_data(run.data, characters=CHARACTERS, workers=run.workers)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.nano_training data", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; what is there is replaced")
    parser.add_argument("--characters", type=int, default=CHARACTERS, help="number of training characters")
    parser.add_argument("--workers", type=int, default=None, help="processes; all cores if not given")
    chosen = parser.parse_args(arguments)
    seconds = make_data(chosen.out, characters=chosen.characters, workers=chosen.workers)
    print(f"{chosen.characters * PICTURES_PER_CHARACTER} pictures in {seconds:.1f} s")  # noqa: T201


if __name__ == "__main__":
    main()
