"""A first turn whose missing cells injection fills too: every stage on nano models, from photos to the exported card."""

import dataclasses
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from flenwheel_core.base.errors import ResourceError, UserError
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate, Decision, Verdict
from flenwheel_core.documents.images import ImageKind
from flenwheel_core.documents.injections import InjectionOfTurn
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.images.folder import find_sources
from flenwheel_core.lessons.collect import collect_triplets
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.injections import Injections
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.nano.world import HELD_OUT_FROM, make_character, make_view, render
from flenwheel_core.plans.source_files import keep_files
from flenwheel_core.plans.subjects import plan_of
from flenwheel_core.recipes.injection import HeadRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.records.provenance import Provenance
from flenwheel_core.reports.turn_report import TurnFacts, turn_report
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.export import ExportResult
from flenwheel_core.requests.inject import InjectionCell, InjectRequest, InjectResult
from flenwheel_core.requests.screen import ScreenRequest
from flenwheel_core.runner.stage import INGEST, Stage
from flenwheel_core.runner.worker import run_stage
from flenwheel_core.store import Store
from flows.flywheel1 import run_turn
from flows.injected_cells import injected_pictures
from flows.rounds import EnrichedRounds
from flows.turn import Turn
from flows.turn_runner import Request, Result
from tests.kit.injection_world import add_blank_head, drawn_identity
from tests.kit.shared_results import share_results


class Runner:
    """The turn's stages in this process; a person who takes all pictures of gate A, and of gate B what screening passed.

    `brings` is what the trial finds in place of what these quick pictures show: a head that brings somebody takes longer to train than a
    test may.
    """

    def __init__(
        self, turn: Turn, settings: Settings, brings: float | None = None, refused: UserError | None = None
    ) -> None:
        self.turn, self.settings, self.brings, self.refused = turn, settings, brings, refused
        self.asked: list[tuple[str, StageRequest]] = []
        self.made: dict[str, StageResult] = {}

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        self.asked.append((label, request))
        if self.refused is not None and isinstance(request, InjectRequest):
            raise self.refused
        any_stage = cast("Stage[StageRequest, StageResult]", stage)
        progress = Progress(stage.name, lambda event: None)
        result = run_stage(any_stage, request, self.settings, progress, memory_level=0, stop=threading.Event())
        if (
            self.brings is not None
            and isinstance(result, InjectResult)
            and isinstance(request, InjectRequest)
            and request.verifier
        ):
            result = result.model_copy(update={"cells": tuple(found(cell, self.brings) for cell in result.cells)})
        self.made[stage.name] = result
        return cast("Result", result)

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        session = reviews.open(session)
        if session.kind == "enriched":
            for record in reviews.images(session):
                line = Decision(
                    id=record.item,
                    at=datetime(2026, 1, 2, tzinfo=UTC),
                    author="ana",
                    image=record.digest,
                    verdict=Verdict.GOOD,
                )
                reviews.decide(session.gate, line)
        return reviews.close(session.gate, "approve", "take_passed", override_minimum=True, reviewer="ana")

    def turn_report(self, facts: TurnFacts) -> str:
        return turn_report(self.turn.store, facts)


def found(cell: InjectionCell, brings: float) -> InjectionCell:
    """As a trial of a head that works finds it, a little otherwise in every picture; prompts are followed."""
    other = 0.01 * (cell.seed % 7)
    like = other + (brings * min(1.0, cell.alpha) if cell.method == "injection" else 0.0)
    return cell.model_copy(update={"likeness": like, "kept": 1.0})


def add(store: Store, folder: Path, name: str, seed: int) -> Character:
    """A drawn character with twelve sources."""
    place = folder / name
    place.mkdir()
    for number in range(12):
        view = replace(make_view(seed * 100 + number, portrait_share=1.0), clothing=None, style="photo")
        render(make_character(HELD_OUT_FROM + seed), view).save(place / f"{number:02d}.png")
    made = Character(name=name, trigger=f"ohwx_{name}", class_word="person", kind="subject", recipe="nano")
    library = Library(store)
    library.create_character(made)
    library.add_sources(name, keep_files(store, find_sources(place)).files)
    return made


def small(recipe: Recipe, injected: int) -> Recipe:
    """How the pictures look is no matter here."""
    train = recipe.train.model_copy(update={"steps": 2, "min_epochs": None, "warmup_steps": 0, "batch_size": 2})
    train = train.model_copy(
        update={
            "sampling": train.sampling.model_copy(update={"every_steps": 2, "prompts": 1}),
            "prior": train.prior.model_copy(update={"images": 1}),
        }
    )
    quick = recipe.enrich.sampler.model_copy(update={"steps": 2})
    return recipe.model_copy(
        update={
            "train": train,
            "enrich": recipe.enrich.model_copy(update={"target_images": 4, "sampler": quick, "injected": injected}),
            "generate": recipe.generate.model_copy(
                update={"target_images": 8, "sampler": recipe.generate.sampler.model_copy(update={"steps": 2})}
            ),
            "benchmark": recipe.benchmark.model_copy(update={"seeds_per_cell": 1, "bleed_pictures": 0}),
            "gates": recipe.gates.model_copy(update={"minimum_enriched": 1, "minimum_pristine": 0}),
        }
    )


def begin(store: Store, settings: Settings, character: Character, injected: int) -> Turn:
    name = character.name
    recipe = small(pin_recipe(load_recipe("nano"), settings, plan_of("subject").models), injected)
    opened = Library(store).open_turn(name, "run-1", store.put_blob(recipe.to_bytes()))
    return Turn(store, character, recipe, opened.number, "run-1", f"{name}-t1", f"turns/{name}/0001")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The character is the same in all tests: one takes it in and makes its edits, the others find them."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def settings(tmp_path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    here = Settings(workspace=tmp_path / "workspace", gpu="cpu", threads=1)
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(here.root))
    monkeypatch.setenv("FLENWHEEL_GPU", "cpu")
    share_results(here, results)
    return here


@pytest.mark.slow
def test_what_injection_draws_is_screened_reviewed_and_said(tmp_path: Path, settings: Settings) -> None:
    store = Store(settings.store_url)
    mira, _ = (add(store, tmp_path, name, seed) for name, seed in (("mira", 41), ("nora", 42)))
    turn = begin(store, settings, mira, injected=3)
    runner = Runner(turn, settings, brings=0.5)
    add_blank_head(store, settings, HeadRecipe(place="both"), (drawn_identity(store, 7),))

    run_turn(turn, runner)

    outcome = store.get_document("turns/mira/0001/injection", InjectionOfTurn)
    assert outcome is not None and outcome.alpha == 1.0, outcome
    assert "brings this character: +0.50 identity" in outcome.said
    gate_a = next(request for _, request in runner.asked if isinstance(request, ScreenRequest))
    shown = store.get_images(gate_a.images)
    injected = [record for record in shown if record.kind is ImageKind.INJECTED]
    assert len(injected) == 3 and len(shown) == 7, "they are screened among the edits"
    assert all(record.turn == 1 and record.cell is not None and record.parents for record in injected)
    pool = {entry.image.digest: entry for entry in Library(store).pool("mira")}
    assert all(record.digest in pool and not pool[record.digest].real for record in injected)
    assert all("ohwx_mira person" in pool[record.digest].caption for record in injected)
    sources = {triplet.target for triplet in collect_triplets(store).triplets}
    assert not sources & {record.digest for record in injected}, "they teach the editor nothing"

    exported = runner.made["export"]
    assert isinstance(exported, ExportResult)
    readme = store.get_blob(next(file.digest for file in exported.files if file.name == "README.md")).decode()
    assert "drawn with what the given photos show, before there was a LoRA, chosen by a person" in readme
    report = store.get_blob(Library(store).ended_turns("mira")[0].report or "").decode()
    assert outcome.said in report
    lineage = Provenance(store).lineage(injected[0].digest)
    assert lineage.kind == "injected image" and dict(lineage.facts)["injected with"].startswith("head ")
    assert Injections(store).preview("mira") is not None, "the trial stands on its page"

    before = len(runner.asked)
    again = EnrichedRounds(turn, runner)
    assert again.make(1, ()) is not None and len(runner.asked) == before + 2, "a replay asks for what was planned"


@pytest.mark.parametrize(
    ("head", "refused", "said"),
    [
        (False, None, "There is no head yet"),
        (True, None, "does not bring this character"),
        (True, ResourceError("Injection needs 34 GiB of card memory."), "Injection needs 34 GiB"),
    ],
)
def test_where_it_does_not_bring_the_character_nothing_is_drawn_with_it(
    tmp_path: Path, settings: Settings, head: bool, refused: UserError | None, said: str
) -> None:
    store = Store(settings.store_url)
    mira, _ = (add(store, tmp_path, name, seed) for name, seed in (("mira", 41), ("nora", 42)))
    turn = begin(store, settings, mira, injected=3)
    runner = Runner(turn, settings, refused=refused)
    if head:
        add_blank_head(store, settings, HeadRecipe(), (drawn_identity(store, 7),))
    request = turn.ingest_request()
    turn.take_in(request, runner.stage(INGEST, request, "ingest"))
    made = EnrichedRounds(turn, runner).make(1, ())
    assert made is not None and all(record.kind is ImageKind.ENRICHED for record in store.get_images(made))
    outcome = store.get_document("turns/mira/0001/injection", InjectionOfTurn)
    assert outcome is not None and outcome.alpha is None and said in outcome.said


@pytest.mark.parametrize(("injected", "number"), [(0, 1), (3, 2)])
def test_it_is_off_of_itself_and_in_later_turns(tmp_path: Path, settings: Settings, injected: int, number: int) -> None:
    store = Store(settings.store_url)
    mira = add(store, tmp_path, "mira", 41)
    turn = dataclasses.replace(begin(store, settings, mira, injected), number=number)
    runner = Runner(turn, settings)
    assert injected_pictures(turn, runner) == () and not runner.asked
    assert "injected" not in begin(store, settings, mira, 0).recipe.model_dump(mode="json")["enrich"]
