"""The training data is what its labels, captions and edits say."""

from pathlib import Path

import numpy as np
import pytest

from flenwheel_core.nano.world import View, apply_instruction, make_character, parse_caption, parse_instruction, render
from flenwheel_core.nano.world.version import shipped_world
from tools.nano_training.data import (
    CAPTIONS,
    LABELS,
    PICTURES_PER_CHARACTER,
    SCENE_PICTURES,
    label_row,
    label_values,
    make_data,
    scenes_of,
)

CHARACTERS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    make_data(out, characters=CHARACTERS, workers=2, world=shipped_world())
    return out


def test_pictures_and_labels_are_of_the_character_and_view_of_their_row(folder: Path) -> None:
    pictures, labels = np.load(folder / "pictures.npy"), np.load(folder / "labels.npy")
    assert pictures.shape == (CHARACTERS * PICTURES_PER_CHARACTER, 128, 128, 3)
    row = PICTURES_PER_CHARACTER + SCENE_PICTURES + 1
    character, view = make_character(1), scenes_of(1)[1][1]
    assert np.array_equal(pictures[row], np.asarray(render(character, view)))
    read = {name: values[code] for (name, values), code in zip(LABELS.items(), labels[row], strict=True) if code >= 0}
    assert read == label_values(character, view)
    assert read["angle"] == view.angle
    assert np.load(folder / "characters.npy").tolist() == [seed for seed in range(3) for _ in range(20)]


def test_captions_fit_their_pictures_and_are_never_empty(folder: Path) -> None:
    lines = (folder / "captions.txt").read_text().splitlines()
    assert len(lines) == CHARACTERS * PICTURES_PER_CHARACTER * CAPTIONS
    assert all(lines)
    views = [view for seed in range(CHARACTERS) for scene in scenes_of(seed) for view in scene]
    for index, line in enumerate(lines):
        read, view = parse_caption(line), views[index // CAPTIONS]
        assert read.background in (None, view.background)
        assert read.clothing == view.clothing


def test_every_edit_has_exactly_its_target(folder: Path) -> None:
    edits, lines = np.load(folder / "edits.npy"), (folder / "edits.txt").read_text().splitlines()
    assert len(edits) == len(lines) > CHARACTERS * 30
    views = [view for seed in range(CHARACTERS) for scene in scenes_of(seed) for view in scene]
    for (source, target), line in zip(edits, lines, strict=True):
        assert apply_instruction(views[source], parse_instruction(line)) == views[target]


def test_labels_of_world_2_leave_out_what_cannot_be_seen() -> None:
    character = make_character(1_000_000, 2)
    mark = character.extras.marks[0]
    seen, hidden = ("profile-left", "profile-right") if mark.side == "left" else ("profile-right", "profile-left")
    assert label_values(character, View(seen))[f"{mark.side}_mark"] == mark.kind
    assert f"{mark.side}_mark" not in label_values(character, View(hidden))
    assert label_values(character, View())["pattern"] == character.extras.pattern
    other = "teal hoodie" if character.clothing != "teal hoodie" else "red hoodie"
    assert "pattern" not in label_values(character, View(clothing=other))
    assert len(label_row(character, View())) == len(LABELS)
    assert label_row(make_character(1_000_000, 1), View())[-4:] == [-1] * 4
