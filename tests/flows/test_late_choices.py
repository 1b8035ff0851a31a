"""A person takes another state of a training after the last gate: while the challenger is trained, or during the benchmark."""

from typing import Any

import pytest

from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.scores import Comparison
from flenwheel_core.library.characters import CharacterFacts, Library
from flenwheel_core.library.choices import Choices
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.records.exports import champion_export
from flenwheel_core.requests.benchmark import BenchmarkRequest, BenchmarkResult
from flenwheel_core.requests.choose import ChooseResult
from flenwheel_core.requests.export import ExportRequest
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.store import Store
from flows.flywheel1 import finished
from flows.turn import Turn
from tests.kit.gate_world import CHARACTER, fill_library
from tests.kit.run_here import run_here
from tests.kit.scorecards import card
from tests.kit.training_findings import choice_made, lora_file
from tests.kit.turn_world import FINGERPRINT


class Runner:
    """Exports in earnest; the benchmark has an outcome of its own, and somebody takes another state while it is drawn."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self.asked: dict[str, Any] = {}

    def stage(self, stage: Any, request: Any, label: str) -> Any:
        self.asked[label] = request
        if stage.name == "export":
            return run_here(stage, request, self.settings, lambda event: None)
        if Library(self.store).champion("mira") is None:
            Choices(self.store, "mira").overrule(None, 400, 0.8, by="ana", why="softer")
        comparison = Comparison(promote=True, reasons=("so",), pass_rate_gain=0, identity_gain=0, diversity_gain=0)
        drawn = self.store.put_blob(b"grid")
        return BenchmarkResult(challenger=card(), champion=card(), comparison=comparison, images=drawn, grid=drawn)

    def gate(self, *_: object) -> Any:
        raise AssertionError("the gates are behind it")

    def turn_report(self, facts: Any) -> str:
        self.facts = facts
        return "all went well"


@pytest.fixture
def turn(settings: Settings) -> Turn:
    store = Store(settings.store_url)
    sources = store.put_images(fill_library(store))
    Library(store).freeze_facts("mira", CharacterFacts(sources=sources, fingerprint=FINGERPRINT))
    choice_made(store)
    return Turn(store, CHARACTER, load_recipe("nano"), 1, "run-1", "mira-t1", "turns/mira/0001")


def chosen_in(store: Store) -> ChooseResult:
    return Choices(store, "mira").find()[1]


def test_the_benchmark_draws_what_stands_and_what_is_taken_during_it_is_promoted_and_exported(
    turn: Turn, settings: Settings
) -> None:
    store, challenger = turn.store, chosen_in(turn.store).lora
    v1 = challenger.model_copy(
        update={
            "name": "mira-t1-v1",
            "digest": store.put_blob(lora_file(7)),
            "request": digest_bytes(b"another training"),
        }
    )
    before = Choices(store, "mira").overrule(None, 400, 1.0, by="ben").lora
    made = [TrainResult(lora=lora, losses=(), samples=()) for lora in (v1, challenger)]
    runner = Runner(store, settings)
    finished(turn, runner, turn.sources(), v1, list(made))

    benchmark = runner.asked["benchmark mira-t1"]
    assert isinstance(benchmark, BenchmarkRequest)
    assert (benchmark.champion, benchmark.challenger) == (v1.digest, before.digest)
    assert runner.facts.trained[-1].lora == before
    promoted, champion = turn.library.champions("mira")
    assert promoted.lora == before and (champion.lora.steps, champion.lora.strength) == (400, 0.8)
    assert champion.reasons == ("ana took step 400 at strength 0.8 in place of 400 steps at strength 1.", "softer")
    assert Choices(store, "mira").standing(promoted.lora) == champion.lora
    exporting = champion_export(store, "mira")[0]
    assert isinstance(exporting, ExportRequest) and exporting.lora == champion.lora and exporting.scorecard is None
    assert champion.lora.digest in {file.digest for file in runner.facts.exported.files}

    # A replay asks for the same and changes nothing.
    again = Runner(store, settings)
    finished(turn, again, turn.sources(), v1, list(made))
    assert {label: one.key() for label, one in again.asked.items()} == {
        label: one.key() for label, one in runner.asked.items()
    }
    assert len(turn.library.champions("mira")) == 2 and again.facts == runner.facts
