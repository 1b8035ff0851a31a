"""A contact sheet of one nano character: every angle and expression, the poses, the drawing styles."""

from PIL import Image

from flenwheel_core.nano.world import (
    ANGLES,
    BACKGROUNDS,
    EXPRESSIONS,
    LIGHTINGS,
    POSES,
    STYLES,
    View,
    contact_sheet,
    make_character,
    render,
)


def character_sheet(seed: int, *, size: int = 128) -> Image.Image:
    """The character of a seed: a row of angles for each expression, then three poses and two drawing styles."""
    character = make_character(seed)
    views = [
        View(
            angle=angle,
            expression=expression,
            background=BACKGROUNDS[(row * len(ANGLES) + column) % len(BACKGROUNDS)],
            lighting=LIGHTINGS[(row + column) % len(LIGHTINGS)],
            seed=seed + row * len(ANGLES) + column,
        )
        for row, expression in enumerate(EXPRESSIONS)
        for column, angle in enumerate(ANGLES)
    ]
    views += [View(pose=pose, background="studio", lighting="studio", seed=seed) for pose in POSES[1:]]
    views += [View(expression="smiling", background="forest", style=style, seed=seed) for style in STYLES[1:3]]
    return contact_sheet([render(character, view, size) for view in views], len(ANGLES))
