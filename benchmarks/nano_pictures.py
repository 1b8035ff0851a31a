"""Draws the pictures of docs/nano.md: the world, and what the nano models make of it.

python -m benchmarks.nano_pictures
"""

from dataclasses import replace
from pathlib import Path

import torch
from diffusers import FluxPipeline
from PIL import Image

from benchmarks.nano_models_eyes import REDRAWN_STRENGTH, redrawn
from flenwheel_core.images.sheets import Tile
from flenwheel_core.images.sheets import contact_sheet as labelled_sheet
from flenwheel_core.nano import weights_folder
from flenwheel_core.nano.models.flux import TEXT_TOKENS
from flenwheel_core.nano.models.vlm import PICTURE_PX
from flenwheel_core.nano.sheets import character_sheet
from flenwheel_core.nano.train.vlm_data import plain_caption
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

OUT = Path(__file__).parents[1] / "docs" / "nano"
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
    """Truth above, FLUX from noise with the full caption in the middle, and from half-noised truth below."""
    pictures = [
        (make_character(FIRST_CHARACTER + 40 + k), replace(make_view(k + 300, portrait_share=0.75), style="photo"))
        for k in range(8)
    ]
    pipeline = FluxPipeline.from_pretrained(weights_folder("flux"), torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(
        prompt=[plain_caption(*picture) for picture in pictures],
        height=PICTURE_PX,
        width=PICTURE_PX,
        num_inference_steps=20,
        max_sequence_length=TEXT_TOKENS,
        generator=torch.Generator().manual_seed(0),
    ).images
    return contact_sheet([render(*picture) for picture in pictures] + drawn + redrawn(pictures, REDRAWN_STRENGTH), 8)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    made = {
        "character": character_sheet(FIRST_CHARACTER + 3),
        "world": world(),
        "edits": edits(),
        "spoiled": spoiled(),
        "generated": generated(),
    }
    for name, picture in made.items():
        picture.save(OUT / f"{name}.webp", quality=88, method=6)


if __name__ == "__main__":
    main()
