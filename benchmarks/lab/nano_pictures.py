"""Draws the pictures of docs/nano.md: the world, and what the nano models make of it.

python -m benchmarks.lab.nano_pictures
"""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from benchmarks.quality.nano_models_eyes import GENERATED_CHARACTERS, REDRAWN_STRENGTH, redrawn, shown
from flenwheel_core.images.sheets import Tile
from flenwheel_core.images.sheets import contact_sheet as labelled_sheet
from flenwheel_core.nano.models.vlm import PICTURE_PX
from flenwheel_core.nano.sheets import character_sheet
from flenwheel_core.nano.world import (
    SPOIL_KINDS,
    View,
    apply_instruction,
    contact_sheet,
    make_character,
    make_view,
    parse_instruction,
    render,
    spoil,
)

OUT = Path(__file__).parents[2] / "docs" / "nano"
FIRST_CHARACTER = 1_300_000
INSTRUCTIONS = (
    "same person, smiling",
    "same person, profile-right view",
    "same person, beach background, sunset lighting",
    "same person, t-pose",
    "same person, wearing a green hoodie",
    "same person, watercolor style",
)


def world() -> Image.Image:
    """Sixteen characters in mixed views."""
    return contact_sheet(
        [render(make_character(FIRST_CHARACTER + k), make_view(k + 11, portrait_share=0.7)) for k in range(16)], 8
    )


def edits() -> Image.Image:
    """A source and the right answers to instructions."""
    character, view = make_character(FIRST_CHARACTER + 21), View("half-left", "neutral", background="mountain", seed=4)
    tiles = [Tile(render(character, view), ("source",))]
    for text in INSTRUCTIONS:
        right = apply_instruction(view, parse_instruction(text))
        tiles.append(Tile(render(character, right), tuple(text.removeprefix("same person, ").split(", "))))
    return labelled_sheet(tiles, columns=7, tile_px=PICTURE_PX)


def spoiled() -> Image.Image:
    """One picture, spoiled in each way."""
    character, view = make_character(FIRST_CHARACTER + 30), View("half-right", "smiling", background="beach", seed=8)
    tiles = [Tile(render(character, view), ("right",), good=True)]
    tiles += [
        Tile(spoil(kind, character, view, 2).image, (kind.replace("_", " "),), good=False) for kind in SPOIL_KINDS
    ]
    return labelled_sheet(tiles, columns=8, tile_px=PICTURE_PX)


def generated() -> Image.Image:
    """Two rows of truth, and below them what FLUX makes of it when it starts from half-noised truth."""
    pictures = shown(0.8, GENERATED_CHARACTERS, 4)
    made = redrawn(pictures, REDRAWN_STRENGTH, "cpu")
    return contact_sheet([render(*picture) for picture in pictures[:16]] + made[:16], 8)


def harder() -> Image.Image:
    """World 2: eight characters, of whom the fourth and the eighth are siblings of the one before, then pictures of two people."""
    angles = ("front", "half-left", "front", "front")
    people = [make_character(FIRST_CHARACTER + k, 2) for k in range(8)]
    alone = [render(one, View(angles[k % 4], seed=k)) for k, one in enumerate(people)]
    beside = [
        render(one, replace(make_view(k, portrait_share=1.0), angle="front", companion=FIRST_CHARACTER + 100 + k))
        for k, one in enumerate(people)
    ]
    return contact_sheet([*alone, *beside], 8)


def character() -> Image.Image:
    """The contact sheet of one character."""
    return character_sheet(FIRST_CHARACTER + 3)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for make in (character, world, edits, spoiled, harder, generated):
        make().save(OUT / f"{make.__name__}.webp", quality=48, method=6)


if __name__ == "__main__":
    main()
