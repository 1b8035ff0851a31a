"""World 2: one-sided marks, patterns and worn things, siblings, two people in a picture; world 1 stays what it was."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from flenwheel_core.nano.world import View, caption, make_view, parse_caption, render, source_views
from flenwheel_core.nano.world.captions import attributes_of, extra_attributes
from flenwheel_core.nano.world.characters import make_character
from flenwheel_core.nano.world.extras import MARKS, NO_EXTRAS, PATTERNS, WORN, Extras, Mark


def difference(one: Image.Image, other: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max(axis=2)


def test_a_character_of_world_2_is_that_of_world_1_with_extras() -> None:
    for seed in range(1_000_000, 1_000_003):
        first, second = make_character(seed, 1), make_character(seed, 2)
        assert first.extras == NO_EXTRAS
        assert second.extras.marks
        assert replace(second, extras=NO_EXTRAS) == first
        assert extra_attributes(first) == {}


@pytest.mark.parametrize("kind", MARKS)
def test_a_mark_is_seen_on_its_side_and_hidden_behind_the_head(kind: str) -> None:
    plain = make_character(1_000_004, 1)
    marked = replace(plain, extras=Extras(marks=(Mark(kind, "left", "cheek", 0.0, 0.0),)))
    front = difference(render(plain, View()), render(marked, View())) > 20
    assert 3 < front.sum() < 250
    assert np.nonzero(front)[1].mean() > 66  # the character's left is on the viewer's right
    assert not difference(render(plain, View("profile-right")), render(marked, View("profile-right"))).any()


def test_a_picture_that_is_turned_round_shows_another_mark() -> None:
    character = make_character(1_000_004, 1)
    left, right = (
        replace(character, fringe="none", extras=Extras(marks=(Mark("tattoo", side, "cheek", 0.0, 0.0),)))  # type: ignore[arg-type]
        for side in ("left", "right")
    )
    turned = ImageOps.mirror(render(left, View()))
    assert difference(turned, render(left, View())).max() > 60
    assert attributes_of(left).left_mark == "tattoo" and attributes_of(right).left_mark == "none"


@pytest.mark.parametrize(("field", "choices"), [("pattern", PATTERNS), ("worn", WORN)])
def test_every_pattern_and_everything_worn_can_be_seen(field: str, choices: tuple[str, ...]) -> None:
    plain = make_character(1_000_004, 1)
    shown = {render(replace(plain, extras=replace(NO_EXTRAS, **{field: value})), View()).tobytes() for value in choices}
    assert len(shown) == len(choices)


def test_a_pattern_belongs_to_the_own_clothes() -> None:
    plain = make_character(1_000_004, 1)
    patterned = replace(plain, extras=Extras(pattern="checked"))
    view = View(clothing="teal hoodie" if plain.clothing != "teal hoodie" else "red hoodie")
    assert render(plain, view).tobytes() == render(patterned, view).tobytes()
    assert "pattern" not in caption(patterned, view)
    assert "checked pattern" in caption(patterned, View())


def test_every_fourth_character_is_the_sibling_of_the_one_before() -> None:
    for seed in (1_000_003, 1_000_007, 1_000_011):
        one, other = make_character(seed - 1, 2), make_character(seed, 2)
        assert (one.skin, one.face, one.hair, one.hair_colour, one.garment) == (
            other.skin,
            other.face,
            other.hair,
            other.hair_colour,
            other.garment,
        )
        assert one.extras.marks != other.extras.marks
        assert one.proportions != other.proportions


def test_words_of_world_2_are_read_back() -> None:
    for seed in range(1_000_000, 1_000_060):
        character, view = make_character(seed, 2), make_view(seed)
        said = parse_caption(caption(character, view)).attributes.said()
        known = attributes_of(character).said()
        assert {name: known[name] for name in said} == said
        assert said["left_mark" if character.extras.marks[0].side == "left" else "right_mark"] in MARKS


def test_somebody_beside_the_character_is_drawn_on_the_right_and_said() -> None:
    character, view = make_character(1_000_004, 2), View(seed=3)
    alone, both = render(character, view), render(character, replace(view, companion=1_000_009))
    assert difference(alone, both)[:, 70:].mean() > 10
    other = render(character, replace(view, companion=1_000_010))
    assert difference(both, other)[:, 80:].mean() > 5 > difference(both, other)[:, :40].mean()
    read = parse_caption(caption(character, replace(view, companion=1_000_009), name="ohwx_char person"))
    assert read.name == "ohwx_char" and read.companion is not None
    assert read.companion.said().items() <= attributes_of(make_character(1_000_009, 2)).said().items()
    assert parse_caption(caption(character, view)).companion is None


def test_sources_of_world_2_are_what_people_bring() -> None:
    views = source_views(1_000_004, 10, 2)
    assert 6 <= sum(view.angle == "front" for view in views) < 10
    assert len({view.expression for view in views}) in (2, 3)
    most = max(sum(view.background == other.background for view in views) for other in views)
    assert most >= 5
