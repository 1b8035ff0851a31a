"""How runs begin."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import uuid4

import pytest

from flenwheel_core.base.errors import InputError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.flow_server import RunStatus
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.critics import CriticLibrary
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.models.left_out import leave_out, take_again
from flenwheel_core.models.pinning import ModelUse
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.store import Store
from flows.turn import Turn
from tasks.captioner import open_captioner_turn
from tasks.critic import open_critic_turn
from tasks.editor import EditorTurnAsked, open_editor_turn
from tasks.open_turn import NotBegun, open_alone, open_turn
from tasks.pinning import pinned_snapshot
from tasks.shared_turn import SharedTurnAsked

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


def recipe_with_an_address(folder: Path, more: str = "") -> Path:
    """The file of a recipe whose editor stands behind an address."""
    address = {
        "_class_name": "ImageEditAddress",
        "url": "https://example.org/v1/images/edits",
        "model": "a",
        "price": 1,
    }
    (folder / "address").mkdir()
    (folder / "address" / "model_index.json").write_text(json.dumps(address))
    recipe = folder / "mine.toml"
    recipe.write_text(f'extends = "nano"\nname = "mine"\n[models]\neditor = "{folder / "address"}"\n{more}')
    return recipe


def test_an_edit_that_the_editor_cannot_make_begins_no_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    store = Store(settings.store_url)
    Library(store).create_character(
        Character(name="mira", trigger="ohwx_char", class_word="person", kind="person", recipe="nano")
    )
    recipe = recipe_with_an_address(tmp_path, "[enrich]\nshift = 3.0\n")
    with pytest.raises(RecipeError, match="cannot edit so") as caught:
        open_alone.fn("mira", str(recipe), ("editor",))
    assert "enrich.shift" in caught.value.why and not Library(store).steps("mira")


def test_a_captioner_that_is_left_out_here_stays_in_the_turns_recipe(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Only reading the pictures does without it, as long as it is left out on the machine that reads them."""
    own = settings.model_copy(update={"models": tmp_path / "models"})
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(own.root))
    monkeypatch.setenv("FLENWHEEL_MODELS", str(own.models))
    captioner = "a/eyes@main"
    nano = load_recipe("nano")
    recipe = nano.model_copy(update={"models": nano.models.model_copy(update={"captioner": captioner})})
    files = (SourceFile(name="a.png", digest="a" * 64),)
    leave_out([captioner], own)
    snapshot = pinned_snapshot(recipe, ("base", "verifier"), files)
    assert snapshot.models.captioner == captioner and snapshot.models.base.startswith("nano@")
    store = Store(own.store_url)
    mira = Character(name="mira", trigger="ohwx_char", class_word="person", kind="person", recipe="nano")
    Library(store).create_character(mira)
    Library(store).add_sources("mira", files)
    turn = Turn(store, mira, snapshot, number=1, flow_run="run-1", name="mira-t1", folder="turns/mira/0001")
    assert turn.ingest_request().captioner is None
    take_again([captioner], own)
    assert turn.ingest_request().captioner == captioner


def test_an_editor_that_cannot_learn_begins_no_turn_and_no_person_is_asked(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without this, gate C would collect a person's answers for a training that is then refused."""
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    recipe = recipe_with_an_address(tmp_path)
    asked = EditorTurnAsked(
        character=None, recipe=str(recipe), only_when_waiting=False, offer_stopped=True, beside_open_turn=True
    )
    opened = open_editor_turn.fn(asked)
    assert isinstance(opened, NotBegun) and "an editor to train a LoRA on" in opened.reason


def test_two_turns_of_the_critic_that_begin_at_once_do_not_both_open(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one claims its number after this one looked first."""
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
    library, other = CriticLibrary(Store(settings.store_url)), str(uuid4())

    def meanwhile(recipe: Recipe, uses: Iterable[ModelUse]) -> Recipe:
        library.open_turn(other, library.store.put_blob(recipe.to_bytes()))
        return recipe

    monkeypatch.setattr("tasks.shared_turn.pinned", meanwhile)
    monkeypatch.setattr(
        "tasks.shared_turn.run_states", lambda runs: {run: RunStatus(flow_run=run, state="RUNNING") for run in runs}
    )
    asked = SharedTurnAsked(character=None, recipe=None, only_when_waiting=False, beside_open_turn=False)
    opened = open_critic_turn.fn(asked)
    assert isinstance(opened, NotBegun) and "turn 1 waits at gate D or works" in opened.reason
    assert [turn.flow_run for turn in library.turns()] == [other]


def test_the_captioner_waits_for_new_captions_and_needs_a_model(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
    asked = SharedTurnAsked(character=None, recipe="nano", only_when_waiting=True, beside_open_turn=True)
    opened = open_captioner_turn.fn(asked)
    assert isinstance(opened, NotBegun) and "0 of the 10 that captioner.train_after asks for" in opened.reason
    begun = open_captioner_turn.fn(asked.model_copy(update={"only_when_waiting": False}))
    assert isinstance(begun, TurnOpened) and begun.number == 1
    silent = tmp_path / "silent.toml"
    silent.write_text('extends = "nano"\nname = "silent"\n[models]\ncaptioner = ""\n')
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
    with pytest.raises(RecipeError, match="names no captioner"):
        open_captioner_turn.fn(asked.model_copy(update={"recipe": str(silent)}))
