"""What characters, triggers and class words may be called, at every door."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.ids import Slug
from flenwheel_core.base.names import CHARACTER, CLASS_WORD, LONGEST, TRIGGER, NameRule
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.store import Store


@pytest.mark.parametrize(
    ("rule", "given", "proposed"),
    [
        (CHARACTER, "Mira Nova", "mira-nova"),
        (CHARACTER, "mira-", "mira"),
        (CHARACTER, "a--b", "a-b"),
        (CHARACTER, "m" * 63, "m" * LONGEST),
        (CHARACTER, "../x", "x"),
        (CHARACTER, "", "mira"),
        (CHARACTER, "\u6f22\u5b57", "mira"),
        (TRIGGER, "TOK", "tok"),
        (TRIGGER, "Lo\u00efc", "loic"),
        (TRIGGER, "ohwx char", "ohwx_char"),
        (TRIGGER, "x", "ohwx_char"),
        (TRIGGER, "[trigger]", "trigger"),
        (CLASS_WORD, "Robot-Dog", "robot dog"),
        (CLASS_WORD, "42", "person"),
    ],
)
def test_a_refusal_says_what_is_allowed_and_proposes_a_name(rule: NameRule, given: str, proposed: str) -> None:
    with pytest.raises(InputError) as refused:
        rule.check(given)
    assert rule.allowed in refused.value.remedy and refused.value.remedy.endswith(f"such as {proposed}.")
    assert rule.check(proposed) == proposed


def test_usual_names_pass() -> None:
    for name in ("mira", "mira-2", "007", "m" * LONGEST):
        assert CHARACTER.check(name) == name
    assert TRIGGER.check("ohwx_char") and CLASS_WORD.check("robot dog")


def test_the_longest_name_fits_into_every_gate_of_a_long_life() -> None:
    for gate in ("gate-a", "gate-b"):
        TypeAdapter(Slug).validate_python(f"{'m' * LONGEST}-t99999-{gate}-r9999")


def test_the_library_takes_no_name_that_gates_cannot_hold(tmp_path: Path) -> None:
    library = Library(Store(tmp_path.as_uri()))
    fields = {"trigger": "ohwx_char", "class_word": "person", "kind": "person", "recipe": "nano"}
    for name in ("m" * (LONGEST + 1), "mira-"):
        with pytest.raises(InputError, match="cannot be a character's name"):
            library.create_character(Character.model_validate({**fields, "name": name}))
    with pytest.raises(ValidationError, match=r"cannot be a trigger\. Use 2 to 40 lowercase letters"):
        Character.model_validate({**fields, "name": "mira", "trigger": "TOK"})


def test_an_older_characters_long_name_is_read_but_starts_no_turn(tmp_path: Path) -> None:
    store = Store(tmp_path.as_uri())
    old = Character(name="m" * 50, trigger="ohwx_char", class_word="person", kind="person", recipe="nano")
    store.put_document(f"characters/{old.name}/character", old)
    library = Library(store)
    assert library.character(old.name) == old
    with pytest.raises(InputError, match="cannot be a character's name"):
        library.usable_character(old.name)


@pytest.mark.parametrize("name", ["../mira", "a/b", "", "x" * 300, "\x00"])
def test_what_can_be_nobodys_name_is_nobody(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError, match="There is no character"):
        Library(Store(tmp_path.as_uri())).character(name)
