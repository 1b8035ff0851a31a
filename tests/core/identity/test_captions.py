"""Captions of sources: labels read out, permanent traits pointed out, the trigger put in once."""

import pytest

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Labels
from flenwheel_core.identity.captions import labels_in, merged, permanent_traits, with_trigger

CHARACTER = CharacterRef(name="hero", trigger="ohwx_char", class_word="person", kind="person")


@pytest.mark.parametrize(
    ("caption", "angle", "expression", "pose", "background"),
    [
        ("photo of x, smiling, profile-left view, beach background", "profile-left", "smiling", None, "beach"),
        ("a man standing, half-right view, night city background", "half-right", None, "standing", "night city"),
        ("portrait of a woman looking at the camera, she laughs", "front", "smiling", "portrait", None),
        ("t-pose, neutral expression, front view", "front", "neutral", "t-pose", None),
        ("a dog on a lawn", None, None, None, None),
    ],
)
def test_labels_are_read(caption: str, angle: str, expression: str, pose: str, background: str) -> None:
    found = labels_in(caption)
    assert (found.angle, found.expression, found.pose, found.background) == (angle, expression, pose, background)


@pytest.mark.parametrize(
    ("caption", "traits"),
    [
        ("ohwx_char with long brown hair and green eyes, smiling", ("long brown hair", "green eyes")),
        ("a bearded man with a scar", ("a scar",)),
        ("ohwx_char in a red coat, sunset lighting, looking left", ()),
        ("ohwx_char, 30 years old", ("30 years old",)),
    ],
)
def test_permanent_traits_are_pointed_out(caption: str, traits: tuple[str, ...]) -> None:
    found = permanent_traits(caption)
    assert len(found) == len(traits)
    assert all(trait in " ".join(found) for trait in traits)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a person on a beach", "ohwx_char person on a beach"),
        ("smiling, beach background", "photo of ohwx_char person, smiling, beach background"),
        ("photo of ohwx_char, smiling", "photo of ohwx_char, smiling"),
        ("", "photo of ohwx_char person"),
    ],
)
def test_the_trigger_goes_in_once(given: str, expected: str) -> None:
    assert with_trigger(given, CHARACTER) == expected


def test_known_labels_win_over_later_ones() -> None:
    both = merged(Labels(angle="front"), Labels(angle="half-left", expression="sad"))
    assert (both.angle, both.expression) == ("front", "sad")
