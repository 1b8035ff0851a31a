"""Named characters are shown under their own name, with captions that fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from flenwheel_core.nano.world import make_character, parse_caption, rare_name, render
from flenwheel_core.nano.world.version import shipped_world
from tools.nano_training.data import CAPTIONS
from tools.nano_training.names import make_names, named_captions, named_view

PICTURES = 6


def test_every_picture_is_of_the_character_that_its_captions_name(tmp_path: Path) -> None:
    make_names(tmp_path / "names", characters=2, workers=1, pictures=PICTURES, world=shipped_world())
    pictures = np.load(tmp_path / "names" / "pictures.npy")
    lines = (tmp_path / "names" / "captions.txt").read_text().splitlines()
    assert len(lines) == len(pictures) * CAPTIONS == 2 * PICTURES * CAPTIONS
    for seed in range(2):
        character = make_character(seed)
        for number in range(PICTURES):
            row = seed * PICTURES + number
            view = named_view(seed, number, shipped_world())
            assert np.array_equal(pictures[row], np.asarray(render(character, view)))
            for line in lines[row * CAPTIONS : (row + 1) * CAPTIONS]:
                read = parse_caption(line)
                assert read.name == rare_name(character)
                assert read.background in (None, view.background)


def test_in_world_2_some_portraits_show_somebody_beside_the_character() -> None:
    views = [named_view(3, number, 2) for number in range(80)]
    beside = [view for view in views if view.companion is not None]
    assert 5 < len(beside) < 40 and all(view.pose == "portrait" for view in beside)
    assert [named_view(3, number, 1) for number in range(80)] == [replace(view, companion=None) for view in views]
    character = make_character(3, 2)
    lines = [line for number, view in enumerate(beside) for line in named_captions(character, view, number)]
    assert all(" next to a person" in line for line in lines)
    assert {parse_caption(line).name for line in lines} == {rare_name(character)}
