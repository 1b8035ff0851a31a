"""Which export a champion has, and which it lacks after a person took another state of its training."""

import pytest

from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.choices import Choices
from flenwheel_core.records.exports import champion_export, export_again, has_export
from flenwheel_core.records.provenance import Provenance
from flenwheel_core.runner.stage import EXPORT
from flenwheel_core.store import Store
from tests.kit.gate_world import fill_library
from tests.kit.run_here import run_here
from tests.kit.training_findings import champion_of_states, choice_made


@pytest.fixture
def filled(store: Store) -> Store:
    fill_library(store)
    return store


def test_of_two_states_taken_one_after_the_other_the_second_is_exported(filled: Store, settings: Settings) -> None:
    first = champion_of_states(filled, settings)
    assert export_again(filled, "mira") is None, "it has its export"
    choices = Choices(filled, "mira")
    choices.overrule(None, 400, 0.8, by="ana")  # and nothing exported it
    choices.overrule(None, 400, 1.0, by="ben")
    with pytest.raises(NotFoundError):
        champion_export(filled, "mira")
    lacking = export_again(filled, "mira")
    assert lacking is not None and (lacking.lora.steps, lacking.lora.strength) == (400, 1.0)
    made = run_here(EXPORT, lacking, settings, lambda event: None)
    assert champion_export(filled, "mira")[0].lora == lacking.lora and export_again(filled, "mira") is None
    # What it was chosen by is not the benchmark, and is not called so.
    page = next(filled.get_blob(file.digest) for file in made.files if file.name == "README.md").decode()
    assert "card benchmark" not in page and "A person took the state after step 400" in page
    # Back at the first, its own export with its benchmark stands.
    choices.overrule(None, first.steps, first.strength, by="ana")
    assert export_again(filled, "mira") is None and champion_export(filled, "mira")[0].scorecard is not None


def test_a_champion_of_which_nothing_was_exported_lacks_nothing_yet(filled: Store, settings: Settings) -> None:
    assert export_again(filled, "mira") is None
    lora = champion_of_states(filled, settings)
    assert has_export(filled, lora.digest) and not has_export(filled, "e" * 64)


def test_a_state_that_was_taken_and_never_became_the_champion_is_found(filled: Store) -> None:
    choice_made(filled)
    taken = Choices(filled, "mira").overrule(None, 400, 0.8, by="ana")
    assert Provenance(filled).find(taken.lora.digest) == taken.lora
