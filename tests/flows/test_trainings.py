"""A turn that chooses inside its trainings and looks for doubtful pictures; at a gate a person says otherwise."""

import dataclasses
import threading
from pathlib import Path
from typing import cast

import pytest

from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.images.folder import find_sources
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.doubts import Doubts
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.nano.demo import write_sources
from flenwheel_core.plans.source_files import keep_files
from flenwheel_core.recipes.choice import ChoiceRecipe
from flenwheel_core.recipes.doubts import DoubtsRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.records.exports import export_again, find_export
from flenwheel_core.records.provenance import Provenance
from flenwheel_core.reports.evidence import session_evidence
from flenwheel_core.reports.turn_report import TurnFacts, turn_report
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.benchmark import BenchmarkRequest
from flenwheel_core.requests.choose import ChooseRequest, ChooseResult
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.stage import EXPORT, Stage
from flenwheel_core.runner.worker import run_stage
from flenwheel_core.store import Store
from flows.flywheel1 import run_turn
from flows.turn import Turn
from flows.turn_runner import Request, Result


class Runner:
    """The turn's stages in this process. At gate B a person takes another state, and leaves a doubtful picture out."""

    def __init__(self, turn: Turn, settings: Settings) -> None:
        self.turn, self.settings = turn, settings
        self.asked: dict[str, StageRequest] = {}
        self.made: dict[str, StageResult] = {}
        self.sessions: list[ReviewSession] = []
        self.left_out = ""
        self.facts: TurnFacts | None = None

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        self.asked[label] = request
        any_stage = cast("Stage[StageRequest, StageResult]", stage)
        progress = Progress(stage.name, lambda event: None)
        self.made[label] = run_stage(
            any_stage, request, self.settings, progress, memory_level=0, stop=threading.Event()
        )
        return cast("Result", self.made[label])

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        self.sessions.append(reviews.open(session))
        closed = reviews.closed(session.gate)
        if closed is None and session.kind == "synthetic":
            Choices(self.turn.store, "mira").overrule("mira-t1-v1", 4, 0.8, by="ana", why="softer")
            doubts = Doubts(self.turn.store, "mira")
            self.left_out = next(one.image for one in doubts.waiting())
            doubts.decide(self.left_out, keep=False, by="ana", gate=session.gate)
        return closed or reviews.close(session.gate, "approve", "take_passed", override_minimum=True, reviewer="ana")

    def turn_report(self, facts: TurnFacts) -> str:
        self.facts = facts
        return turn_report(self.turn.store, facts)


def small(recipe: Recipe) -> Recipe:
    """How the pictures look is no matter here."""
    train = recipe.train.model_copy(update={"steps": 8, "min_epochs": None, "warmup_steps": 1, "batch_size": 2})
    train = train.model_copy(update={"sampling": train.sampling.model_copy(update={"every_steps": 4, "prompts": 1})})
    sampler = recipe.generate.sampler.model_copy(update={"steps": 2})
    screening = recipe.screening.model_copy(update={"identity_threshold": 1.9, "unsure_above": 2.0})
    return recipe.model_copy(
        update={
            "train": train,
            "generate": recipe.generate.model_copy(update={"target_images": 3, "sampler": sampler}),
            "enrich": recipe.enrich.model_copy(update={"target_images": 2, "sampler": sampler}),
            "screening": screening,
            "benchmark": recipe.benchmark.model_copy(update={"seeds_per_cell": 1, "bleed_pictures": 0}),
            "gates": recipe.gates.model_copy(update={"minimum_enriched": 0, "minimum_pristine": 0}),
            "critic": recipe.critic.model_copy(update={"learns": False}),
            "choice": ChoiceRecipe(states=(0.5,), strengths=(0.8, 1.0), pick_pictures=4, confirm_pictures=6),
            "doubts": DoubtsRecipe(look=(0.25, 0.5), limit=0.5, leave_out=True, most=2),
        }
    )


@pytest.fixture
def turn(settings: Settings, tmp_path: Path) -> Turn:
    store = Store(settings.store_url)
    folder = tmp_path / "sources"
    write_sources(folder, 1_000_321, trigger="ohwx_char", class_word="person")
    mira = Character(name="mira", trigger="ohwx_char", class_word="person", kind="subject", recipe="nano")
    Library(store).create_character(mira)
    Library(store).add_sources("mira", keep_files(store, find_sources(folder)).files)
    recipe = pin_recipe(small(load_recipe("nano")), settings)
    opened = Library(store).open_turn("mira", "run-1", store.put_blob(recipe.to_bytes()))
    return Turn(store, mira, recipe, number=opened.number, flow_run="run-1", name="mira-t1", folder="turns/mira/0001")


@pytest.mark.slow
def test_states_are_tried_doubts_are_shown_and_what_a_person_says_at_the_gate_is_followed(
    turn: Turn, settings: Settings
) -> None:
    settings = settings.model_copy(update={"gpu": "cpu"})
    runner = Runner(turn, settings)
    run_turn(turn, runner)
    store = turn.store

    first, choosing = runner.asked["train mira-t1 v1"], runner.asked["choose mira-t1 v1"]
    made, chosen = runner.made["train mira-t1 v1"], runner.made["choose mira-t1 v1"]
    assert isinstance(first, TrainRequest) and isinstance(choosing, ChooseRequest)
    assert isinstance(made, TrainResult) and isinstance(chosen, ChooseResult)
    assert (first.keep_at, first.look_at) == ((4,), (2, 4))
    assert [one.step for one in made.kept] == [4] and made.kept[0].lora != made.lora.digest
    assert len(made.looks) == 2 * len(first.items)
    assert [(one.step, one.strength) for one in choosing.states] == [(4, 0.8), (4, 1.0), (8, 0.8), (8, 1.0)]
    seeds = {item.seed for item in choosing.pick_items}
    benchmark = runner.asked["benchmark mira-t1"]
    assert isinstance(benchmark, BenchmarkRequest)
    confirmed = {item.seed for item in choosing.confirm_items}
    assert not seeds & confirmed and not (seeds | confirmed) & {item.seed for item in benchmark.items}

    # The gate told of both, in words; gate A, before any training, of nothing.
    by_kind = {session.kind: session for session in runner.sessions}
    assert by_kind["enriched"].evidence is None
    said = "\n".join(session_evidence(store, by_kind["synthetic"]))
    assert "How mira-t1-v1 was chosen" in said and "flenwheel choose mira mira-t1-v1" in said
    assert "pictures of the pool are doubtful" in said and "Trained without it" in said
    without = runner.asked["train mira-t1 v1 without 2 pictures"]
    assert isinstance(without, TrainRequest)
    assert [item.image for item in without.items if item.weight == 0].count(runner.left_out) == 1

    # The state that was taken at the gate is what the challenger is compared with, at the strength that is in its file.
    taken = Choices(store, "mira").standing(made.lora)
    assert (taken.steps, taken.strength) == (4, 0.8) and benchmark.champion == taken.digest
    assert runner.facts is not None and runner.facts.trained[0].lora == taken
    assert {sample.step for sample in runner.facts.trained[0].samples} == {0, 4}

    # What was left out is not trained on, and stays in the pool.
    second = runner.asked["train mira-t1 challenger"]
    assert isinstance(second, TrainRequest)
    assert runner.left_out not in {item.image for item in second.items}
    assert runner.left_out in {entry.image.digest for entry in turn.library.pool("mira")}

    # A replay, days later, asks for nothing else and changes nothing.
    lines = len(Doubts(store, "mira").raised())
    again = Runner(turn, settings)
    run_turn(turn, again)
    assert {label: request.key() for label, request in again.asked.items()} == {
        label: request.key() for label, request in runner.asked.items()
    }
    assert len(Doubts(store, "mira").raised()) == lines

    # The command's side: another state of the champion's training becomes the champion, and is exported with the card that says so.
    champion = turn.library.champion("mira")
    assert champion is not None
    _, result = Choices(store, "mira").find(champion.lora.name)
    other = next(
        one.state
        for one in result.choice.tried
        if (one.state.step, one.state.strength) != (champion.lora.steps, champion.lora.strength)
    )
    Choices(store, "mira").overrule(champion.lora.name, other.step, other.strength, by="ben")
    now = turn.library.champion("mira")
    assert now is not None and (now.lora.steps, now.lora.strength) == (other.step, other.strength)
    exporting = export_again(store, "mira")
    assert exporting is not None
    files = {one.name: store.get_blob(one.digest) for one in runner.stage(EXPORT, exporting, "again").files}
    assert (
        b"A person took the state after step" in files["README.md"]
        or other == result.choice.tried[result.choice.taken].state
    )
    assert files["states.svg"].startswith(b"<svg")
    assert find_export(store, now.lora.digest)[0].lora == now.lora
    assert Provenance(store).find(now.lora.digest) == now.lora
    Choices(store, "mira").overrule(champion.lora.name, champion.lora.steps, champion.lora.strength, by="ben")
    back = turn.library.champion("mira")
    assert back is not None and back.lora == champion.lora


def test_a_recipe_that_asks_for_nothing_trains_as_ever(turn: Turn) -> None:
    plain = turn.recipe.model_copy(update={"choice": ChoiceRecipe(), "doubts": DoubtsRecipe()})
    assert not {"choice", "doubts"} & plain.model_dump(mode="json").keys()
    assert "bodies_from" not in plain.model_dump(mode="json")["train"]
    assert dataclasses.replace(turn, recipe=plain).recipe.choice.pictures(400) == 0
