"""The renderer draws the same pictures everywhere, and what a view changes can be seen."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flenwheel_core.nano.sheets import character_sheet
from flenwheel_core.nano.world import STYLES, View, contact_sheet, make_character, make_view, render
from flenwheel_core.nano.world.views import CHOICES

REFERENCE = Path(__file__).with_name("reference.webp")
"""Six pictures as they were when the models were trained."""
MEAN_TOLERANCE, PIXEL_TOLERANCE, STRAYING_SHARE = 0.5, 8, 0.005
"""Levels of 255: another platform's floats may round a pixel differently, and no more than that."""


def six() -> Image.Image:
    pictures = [render(make_character(1_000_000 + seed), make_view(seed, portrait_share=0.6)) for seed in range(3)]
    styles = [style for style in STYLES if style != "photo"][:3]
    pictures += [render(make_character(1_000_100), View("half-right", "angry", style=style)) for style in styles]
    return contact_sheet(pictures, 6)


def test_pictures_are_those_the_models_were_trained_on() -> None:
    with Image.open(REFERENCE) as reference:
        expected = np.asarray(reference.convert("RGB"), np.int16)
    difference = np.abs(np.asarray(six(), np.int16) - expected)
    assert difference.mean() < MEAN_TOLERANCE
    assert (difference > PIXEL_TOLERANCE).mean() < STRAYING_SHARE


def test_another_process_draws_the_same_bytes() -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[4])!r}); import hashlib; " + (
        "from tests.core.nano.world.test_render import six; print(hashlib.sha256(six().tobytes()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(six().tobytes()).hexdigest()


@pytest.mark.parametrize("field", ["angle", "expression", "pose", "background", "lighting", "style"])
def test_every_choice_of_a_view_can_be_seen(field: str) -> None:
    character = make_character(1_000_004)
    pictures = [render(character, replace(View(), **{field: value})).tobytes() for value in CHOICES[field]]
    assert len(set(pictures)) == len(CHOICES[field])


def test_an_expression_changes_the_face_only() -> None:
    character, view = make_character(1_000_004), View(background="forest", seed=7)
    smiling, sad = (
        np.asarray(render(character, replace(view, expression=expression)), np.int16)
        for expression in ("smiling", "sad")
    )
    changed = np.abs(smiling - sad).max(axis=2) > 4
    rows, columns = np.nonzero(changed)
    assert rows.min() > 25 and rows.max() < 95
    assert columns.min() > 30 and columns.max() < 98


def test_clothing_of_a_view_is_worn_instead_of_the_own() -> None:
    character = make_character(1_000_004)
    own = render(character, View(clothing=character.clothing))
    assert own.tobytes() == render(character, View()).tobytes()
    other = np.asarray(render(character, View(clothing="green hoodie", lighting="studio")))
    red, green, blue = other[118, 64].astype(int)
    assert green > red and green > blue


def test_size_is_a_parameter() -> None:
    large = render(make_character(5), make_view(5), 256)
    assert large.size == (256, 256)
    small = np.asarray(render(make_character(5), make_view(5)), np.int16)
    assert np.abs(np.asarray(large.reduce(2), np.int16) - small).mean() < 6


def test_character_sheet_shows_every_angle_and_expression() -> None:
    sheet = character_sheet(1_000_003, size=32)
    assert sheet.size == (5 * 34 - 2, 5 * 34 - 2)
