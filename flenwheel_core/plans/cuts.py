"""How much of a picture training cuts away, said before anything is trained."""

from collections.abc import Sequence

from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.images.buckets import bucket_sides, place
from flenwheel_core.images.names import printable_path
from flenwheel_core.recipes.train import TrainingRecipe

WORTH_SAYING = 0.15
"""Buckets cut a few per cent of almost every picture; a photo of 3:2 in the default ones loses less than this."""


def cut_share(size: tuple[int, int], recipe: TrainingRecipe) -> float:
    """The share of a picture of this width and height that its bucket cuts away."""
    sides = bucket_sides(recipe.resolution, recipe.bucket_step, aspect=recipe.aspect_buckets)
    return place(size, sides).cropped_share


def cut_notes(pictures: Sequence[ImageRecord], recipe: TrainingRecipe) -> tuple[str, ...]:
    """A line for every source of which training cuts much away."""
    notes = []
    for picture in pictures:
        share = cut_share((picture.width, picture.height), recipe)
        if share >= WORTH_SAYING:
            ends = "left and right" if picture.width > picture.height else "top and bottom"
            shape = "the longest bucket" if recipe.aspect_buckets else "a square"
            notes.append(
                f"{printable_path(picture.item)}: training cuts {share:.0%} of it away at {ends}, to {shape}. "
                "If the character stands there, cut the picture yourself."
            )
    return tuple(notes)
