"""Captions and instructions say exactly what they mean, and can be read back."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flenwheel_core.nano.world import (
    HELD_OUT_FROM,
    Attributes,
    Change,
    View,
    apply_instruction,
    attributes_of,
    caption,
    change_between,
    instruction,
    make_character,
    make_edit,
    make_view,
    parse_caption,
    parse_instruction,
    rare_name,
)
from flenwheel_core.nano.world.captions import MOST_PHRASES
from flenwheel_core.nano.world.extras import NO_EXTRAS
from flenwheel_core.nano.world.phrases import OWN
from flenwheel_core.nano.world.version import WORLDS
from flenwheel_core.nano.world.views import CHOICES, VARIED

seeds = st.integers(0, 2**40)
views = st.builds(
    View,
    **{field: st.sampled_from(CHOICES[field]) for field in VARIED if field != "clothing"},
    clothing=st.none() | st.sampled_from(CHOICES["clothing"]),
    seed=seeds,
)


def shown(view: View) -> dict[str, str | None]:
    return {field: getattr(view, field) for field in VARIED}


@given(seeds, views, st.sampled_from(WORLDS))
def test_a_full_caption_says_all_of_the_view_and_the_character(seed: int, view: View, world: int) -> None:
    """In world 2 what is least seen is left out, so that what tells two alike apart has room."""
    character = make_character(seed, world)
    read = parse_caption(caption(character, view))
    assert {field: getattr(read, field) for field in VARIED} == shown(view)
    truth = attributes_of(character).said()
    said = read.attributes.said()
    left_out = {"face", "brows"} if world > 1 and character.extras != NO_EXTRAS else set()
    told = {name: value for name, value in truth.items() if value not in (False, "none") and name not in left_out}
    if view.clothing is not None:
        told = {name: value for name, value in told.items() if name not in ("clothing", "pattern")}
    assert said.items() <= told.items()
    assert world > 1 or said == told
    assert len(said) >= min(len(told), MOST_PHRASES)


@given(seeds, views, seeds)
def test_a_training_caption_says_nothing_wrong(seed: int, view: View, draw: int) -> None:
    character = make_character(seed)
    text = caption(character, view, rng=random.Random(draw))
    read = parse_caption(text)
    for field, value in shown(view).items():
        assert getattr(read, field) in (None, value)
    if text:
        assert read.clothing == view.clothing
        assert read.style == view.style
    assert read.attributes.said().items() <= attributes_of(character).said().items()
    assert read.name in (None, rare_name(character))


@given(views, views)
def test_an_instruction_leads_from_source_to_target(source: View, target: View) -> None:
    target = replace(target, seed=source.seed)
    change = parse_instruction(instruction(source, target))
    assert change == change_between(source, target)
    assert apply_instruction(source, change) == target


@given(views, seeds, seeds)
def test_a_reworded_instruction_has_the_same_answer(source: View, seed: int, draw: int) -> None:
    target = make_edit(source, seed)
    assert target != source
    text = instruction(source, target, rng=random.Random(draw))
    assert text.startswith("same person, ")
    assert apply_instruction(source, parse_instruction(text)) == target


def test_what_a_lora_user_writes() -> None:
    text = "photo of ohwx_char person, smiling, half-left view, forest background, sunset lighting"
    read = parse_caption(text)
    assert (read.name, read.pose, read.style) == ("ohwx_char", "portrait", "photo")
    assert read.attributes == Attributes()
    view = View("half-left", "smiling", "portrait", "forest", "sunset")
    assert caption(make_character(3), view, name="ohwx_char person") == text


def test_forms_that_people_write_are_understood() -> None:
    read = parse_caption("A full-body photo of a person with a bald head, standing, Smiling expression, Front view.")
    assert (read.pose, read.expression, read.angle, read.attributes.hair) == ("standing", "smiling", "front", "bald")
    assert parse_caption("") == parse_caption("nothing of this world")
    assert parse_instruction("same person, own clothes, photo style") == Change(clothing=OWN, style="photo")


def test_forms_of_training_captions_come_in_the_intended_shares() -> None:
    texts = []
    for seed in range(3000):
        character, view = make_character(seed), make_view(seed)
        texts.append((parse_caption(text := caption(character, view, rng=random.Random(seed))), text))
    assert all(read.name is None for read, _ in texts)
    bare = sum(read.name is None and read.attributes == Attributes() and text != "" for read, text in texts) / len(
        texts
    )
    empty = sum(text == "" for _, text in texts) / len(texts)
    assert 0.20 < bare < 0.30
    assert 0.03 < empty < 0.07


def test_every_training_character_has_its_own_name() -> None:
    names = [rare_name(make_character(seed)) for seed in range(12_000)]
    assert len(set(names)) == len(names)
    assert not any("ohwx" in name for name in names)
    held_out = {rare_name(make_character(HELD_OUT_FROM + seed)) for seed in range(500)}
    assert len(held_out) == 500
    assert not held_out & set(names)
