"""Training pictures of characters with names: few enough that FLUX can learn who each of them is.

A small model that meets ten thousand names learns none of them; it then reads past names, and a LoRA finds no place where a new name
could mean something. So a few hundred characters are shown often, under their own rare name, and everybody else is `a person`.

A folder with `characters.npy` (written first), `pictures.npy`, `captions.txt` (CAPTIONS lines a picture) and `done`, written last.
"""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.nano.world.captions import CLASS_WORD, caption, rare_name
from flenwheel_core.nano.world.chance import chance_of
from flenwheel_core.nano.world.characters import HELD_OUT_FROM, Character, make_character
from flenwheel_core.nano.world.render import render
from flenwheel_core.nano.world.views import View, make_view
from tools.nano_training.data import CAPTIONS, PICTURE_PX, PORTRAIT_SHARE
from tools.nano_training.processes import processes

PICTURES_PER_NAME = 120
DESCRIBED_SHARE = 0.15
COMPANION_SHARE = 0.25
FOLDER = "names"


def named_captions(character: Character, view: View, seed: int) -> list[str]:
    """CAPTIONS captions that call the character by its rare name, mostly without a description."""
    chance = chance_of(seed)
    found: list[str] = []
    while len(found) < CAPTIONS:
        name = rare_name(character) + (f" {CLASS_WORD}" if chance.random() < 0.6 else "")
        text = caption(character, view, name=name, describe=chance.random() < DESCRIBED_SHARE, rng=chance)
        if text:
            found.append(text)
    return found


def named_view(seed: int, number: int, world: int) -> View:
    """The view of a named character's picture; in world 2 a share of the portraits show somebody else beside it."""
    view = make_view(derive_seed(seed, "named view", number), portrait_share=PORTRAIT_SHARE)
    chance = chance_of(seed, "named companion", number)
    if world == 1 or view.pose != "portrait" or chance.random() >= COMPANION_SHARE:
        return view
    return replace(view, companion=chance.randrange(HELD_OUT_FROM))


def make_names(out: Path, *, characters: int, workers: int, pictures: int = PICTURES_PER_NAME, world: int = 1) -> None:
    """Renders so many pictures of each named character into the folder `out`; what is there is replaced."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    count = characters * pictures
    open_memmap(out / "pictures.npy", mode="w+", dtype=np.uint8, shape=(count, PICTURE_PX, PICTURE_PX, 3))
    np.save(out / "characters.npy", np.repeat(np.arange(characters, dtype=np.int32), pictures))
    with processes(min(workers, characters)) as pool:
        parts = list(pool.map(partial(_make_one, out, pictures=pictures, world=world), range(characters)))
    (out / "captions.txt").write_text("".join(f"{line}\n" for part in parts for line in part))
    (out / "done").write_text(f"{count}\n")


def _make_one(out: Path, seed: int, pictures: int, world: int) -> list[str]:
    rows = np.load(out / "pictures.npy", mmap_mode="r+")
    character = make_character(seed, world)
    lines: list[str] = []
    for number in range(pictures):
        view = named_view(seed, number, world)
        rows[seed * pictures + number] = np.asarray(render(character, view, PICTURE_PX))
        lines += named_captions(character, view, derive_seed(seed, "named captions", number))
    return lines
