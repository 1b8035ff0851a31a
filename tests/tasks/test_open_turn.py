"""How runs begin."""

from collections.abc import Callable

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Character
from flenwheel_core.store import Store
from tasks.editor import EditorTurnAsked, open_editor_turn
from tasks.open_turn import open_alone, open_turn

OPENINGS: list[Callable[[str], object]] = [
    lambda name: open_turn.fn(name, None, False),
    lambda name: open_alone.fn(name, None),
    lambda name: open_editor_turn.fn(
        EditorTurnAsked(
            character=name, recipe=None, only_when_waiting=False, offer_stopped=False, beside_open_turn=False
        )
    ),
]


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_name_that_no_gate_can_hold_is_refused_before_anything_is_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, opening: Callable[[str], object]
) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    old = Character(name="m" * 50, trigger="ohwx_char", class_word="person", kind="person", recipe="nano")
    Store(settings.store_url).put_document(f"characters/{old.name}/character", old)
    with pytest.raises(InputError, match="Use 1 to 40 lowercase letters"):
        opening(old.name)
