"""A number belongs to one run, and names made from it are never shared."""

import threading
from pathlib import Path

import pytest

from flenwheel_core.base.errors import TurnError
from flenwheel_core.library.turn_numbers import TurnOpened, claim_number, opened_turns
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.store import Store
from flows.editor_turn import EditorTurn

ZERO = "0" * 64
RUNS = [f"0199aaaa-bbbb-7000-8000-{number:012d}" for number in range(8)]
"""Ids of one second: they begin alike."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


def test_runs_whose_ids_begin_alike_get_names_of_their_own(store: Store) -> None:
    recipe = load_recipe("nano")
    numbers = [claim_number(store, "editor/turns", run, ZERO).number for run in RUNS]
    names = {EditorTurn(store, recipe, None, run, number).name for run, number in zip(RUNS, numbers, strict=True)}
    assert len(names) == len(RUNS)
    assert [claim_number(store, "editor/turns", run, ZERO).number for run in RUNS] == numbers, "a replay keeps its own"


def test_a_refusal_claims_nothing(store: Store) -> None:
    def refuse(turns: tuple[TurnOpened, ...]) -> None:
        if turns:
            raise TurnError("one is open")

    assert claim_number(store, "t", RUNS[0], ZERO, refuse).number == 1
    with pytest.raises(TurnError):
        claim_number(store, "t", RUNS[1], ZERO, refuse)
    assert claim_number(store, "t", RUNS[0], ZERO, refuse).number == 1, "its own turn is never refused"
    assert len(opened_turns(store, "t")) == 1


def test_of_runs_that_begin_at_once_one_gets_through(store: Store) -> None:
    refused: list[str] = []

    def begin(run: str) -> None:
        def refuse(turns: tuple[TurnOpened, ...]) -> None:
            if turns:
                raise TurnError("one is open")

        try:
            claim_number(store, "t", run, ZERO, refuse)
        except TurnError:
            refused.append(run)

    threads = [threading.Thread(target=begin, args=(run,)) for run in RUNS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened_turns(store, "t")) == 1 and len(refused) == len(RUNS) - 1
