"""A turn of Flywheel 1 in the nano world, without a server: the flow itself, carried out in this process; a simulated reviewer decides."""

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from benchmarks.kit.stage_here import stage_here
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate, UndecidedPolicy, Verdict
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.gates.kinds import ENRICHED, SYNTHETIC
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.images.folder import find_sources
from flenwheel_core.library.characters import Character, Library, PoolEntry
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.nano.demo import load_truth, save_truth, write_sources
from flenwheel_core.nano.reviewer import Truth, judge, review_gate
from flenwheel_core.plans.pictures import plan_edits
from flenwheel_core.plans.source_files import keep_files
from flenwheel_core.plans.training_set import training_items
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.reports.turn_report import TurnFacts, turn_report
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.benchmark import BenchmarkResult
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateResult
from flenwheel_core.requests.screen import ScreenRequest, ScreenResult
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.stage import BENCHMARK, EDIT_TRAIN, ENRICH, GENERATE, TRAIN, Stage
from flenwheel_core.store import Store
from flows.flywheel1 import run_turn as run_flywheel1
from flows.turn import Turn

Result = TypeVar("Result", bound=StageResult)
Request = TypeVar("Request", bound=StageRequest)


@dataclass(frozen=True)
class Arm:
    """One way of running the flywheels."""

    name: str
    screening: bool = True
    review: bool = True
    real_floor: bool = True
    flywheel_2: bool = True
    benchmark_decides: bool = True
    """False: each new LoRA takes the place of the one before, whatever the benchmark says."""
    flywheel_1: bool = True
    """False: edits and reviews only, no LoRA of the character."""
    enrichment: bool = True
    """False: nothing is edited, the first LoRA learns from the sources alone."""
    synthetic: bool = True
    """False: no LoRA draws pictures for the next one."""
    reviewer_errors: float = 0.0
    """So many of the reviewer's verdicts are the wrong way round."""


ARMS = {
    arm.name: arm
    for arm in (
        Arm("both_flywheels"),
        Arm("sources_only", enrichment=False, synthetic=False, flywheel_2=False),
        Arm("no_enrichment", enrichment=False, flywheel_2=False),
        Arm("no_review", review=False, flywheel_2=False),
        Arm("nobody_looks", screening=False, review=False, flywheel_2=False),
        Arm("erring_reviewer", reviewer_errors=0.1),
        Arm("no_screening", screening=False),
        Arm("no_real_data", real_floor=False),
        Arm("no_flywheel_2", flywheel_2=False),
        Arm("own_output_only", real_floor=False, flywheel_2=False, benchmark_decides=False),
        Arm("editor_only", flywheel_1=False),
    )
}


@dataclass(frozen=True)
class TurnOutcome:
    """What one turn of one character gave."""

    turn: int
    edits: int
    good: int
    corrected: int
    rejected: int
    seconds: float
    judged: bool = True
    """Whether somebody looked at the edits."""
    pass_rate: float | None = None
    champion_pass_rate: float | None = None
    same_steps_pass_rate: float | None = None
    """Of a challenger that was trained for no more steps than the first LoRA: what the longer training alone gives."""
    longer_first_pass_rate: float | None = None
    """Of the first LoRA's pool trained for as many steps as the challenger: what a turn without a second gate would give."""
    equal_epochs_pass_rate: float | None = None
    """Of a challenger that saw each picture as often as the first LoRA did: the larger pool has fewer epochs by `min_epochs`."""
    identity: float | None = None
    diversity: float | None = None
    promoted: bool = False
    corrections_per_100_bare: float | None = None
    """Of the same edits by the editor without its LoRA; None where it wears none."""

    @property
    def corrections_per_100(self) -> float | None:
        """Edits that a person had to correct or redo, per 100; None where none was made, or nobody looked."""
        return 100 * (self.corrected + self.rejected) / self.edits if self.edits and self.judged else None


@dataclass(frozen=True)
class World:
    """The workspace of one arm, and one character in it."""

    settings: Settings
    arm: Arm
    recipe: Recipe
    name: str
    training_gpu: str
    """The card that LoRAs are trained on. Pictures this small are drawn on the processor: a card would wait for Python."""

    @property
    def store(self) -> Store:
        return Store(self.settings.store_url, self.settings.store_options)

    def stage(self, stage: Stage[Request, Result], request: Request) -> Result:
        """The result of a stage, made in this process."""
        trains = stage.name in (TRAIN.name, EDIT_TRAIN.name)
        settings = self.settings.model_copy(update={"gpu": self.training_gpu if trains else "cpu"})
        return stage_here(stage, request, settings)

    def truth(self) -> Truth:
        return load_truth(self.settings.root / f"{self.name}-truth.json")


def open_world(folder: Path, arm: Arm, recipe: Recipe, name: str, *, training_gpu: str = "cpu") -> World:
    """The world of an arm in a folder; processes may open the same one side by side."""
    settings = Settings(workspace=folder / arm.name, store=None, gpu="cpu", slot=name or "editor", threads=1)
    return World(settings, arm, recipe, name, training_gpu)


def nano_recipe(steps: int | None, edits: int | None, editor_steps: int | None) -> Recipe:
    """The nano recipe, its models pinned; smaller if asked."""
    recipe = load_recipe("nano")
    sampling = recipe.train.sampling.model_copy(update={"every_steps": 0})
    train = recipe.train.model_copy(update={"sampling": sampling, "steps": steps or recipe.train.steps})
    editor_train = recipe.editor.train.model_copy(update={"steps": editor_steps or recipe.editor.train.steps})
    return pin_recipe(
        recipe.model_copy(
            update={
                "train": train,
                "editor": recipe.editor.model_copy(update={"train": editor_train}),
                "enrich": recipe.enrich.model_copy(update={"target_images": edits or recipe.enrich.target_images}),
            }
        ),
        Settings(),
    )


def add_character(world: World, seed: int) -> None:
    """A held-out character with the pictures a user would bring."""
    folder = world.settings.root / f"{world.name}-sources"
    trigger, class_word = "ohwx_char", "person"
    truth = write_sources(folder, seed, trigger=trigger, class_word=class_word)
    save_truth(world.settings.root / f"{world.name}-truth.json", truth)
    library = Library(world.store)
    library.create_character(
        Character(name=world.name, trigger=trigger, class_word=class_word, kind="subject", recipe="nano")
    )
    library.add_sources(world.name, keep_files(world.store, find_sources(folder)).files)


@dataclass(frozen=True)
class ComparableTurn(Turn):
    """Every turn edits towards the cells that the sources leave open, not only those still missing: so turns can be compared."""

    arm: Arm = ARMS["both_flywheels"]

    def planned_edits(self, pool: Sequence[PoolEntry], round_: int) -> tuple[EditItem, ...]:
        if not self.arm.enrichment:
            return ()
        real = [entry for entry in pool if entry.real]
        return plan_edits([entry.image for entry in real], real, self.recipe, turn=self.number, round_=round_)

    def planned_pictures(self, pool: Sequence[PoolEntry], round_: int) -> tuple[GenerateItem, ...]:
        return super().planned_pictures(pool, round_) if self.arm.synthetic else ()


class EditsAreEnough(Exception):  # noqa: N818 - no error: an arm without Flywheel 1 ends here
    """Ends a turn after gate A."""


class NanoRunner:
    """Carries out a turn of `flows.flywheel1` in this process. An arm is what it changes on the way from a request to its stage."""

    def __init__(self, world: World, turn: Turn) -> None:
        self.world, self.turn = world, turn
        self.asked: dict[str, StageRequest] = {}
        """The last request of each stage, as it was made."""
        self.made: dict[str, StageResult] = {}
        """Its result, as the stage gave it."""
        self.closed: dict[str, ClosedGate] = {}
        """The answers by kind of gate."""

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        asked = self._changed(request)
        self.asked[stage.name] = asked
        if isinstance(asked, ScreenRequest) and not self.world.arm.screening:
            nobody = ScreenResult(screenings=self.turn.store.put_screenings([]), passed=0, unsure=0, failed=0)
            return cast("Result", nobody)
        result = self.world.stage(stage, cast("Request", asked))
        self.made[stage.name] = result
        if isinstance(result, BenchmarkResult) and not self.world.arm.benchmark_decides:
            return cast("Result", result.model_copy(update={"comparison": None}))
        return result

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        """The simulated reviewer's answer; without a review everything is taken that screening did not fail."""
        arm, store = self.world.arm, self.turn.store
        screenings = session.screenings if arm.screening else None
        session = reviews.open(session.model_copy(update={"screenings": screenings, "minimum": 0}))
        if arm.review:
            errors = arm.reviewer_errors
            review_gate(store, self.world.settings, session.gate, self.world.truth(), errors=errors)
        undecided: UndecidedPolicy = "leave_out" if arm.review else "take_passed"
        closed = reviews.close(session.gate, "approve", undecided, override_minimum=True, reviewer="simulated reviewer")
        self.closed[session.kind] = closed
        return closed

    def turn_report(self, facts: TurnFacts) -> str:
        return turn_report(self.turn.store, facts)

    def _changed(self, request: StageRequest) -> StageRequest:
        arm = self.world.arm
        if isinstance(request, TrainRequest):
            if not arm.flywheel_1:
                raise EditsAreEnough
            if not arm.real_floor and GENERATE.name in self.made:
                return self._without_real(request)
        return request

    def _without_real(self, request: TrainRequest) -> TrainRequest:
        """The same training on nothing but the pictures that the turn's own LoRA drew."""
        drawn = cast("GenerateResult", self.made[GENERATE.name]).images
        entries = [self.turn.entry(record, None, gate=SYNTHETIC.step) for record in self.turn.store.get_images(drawn)]
        items = training_items(entries, self.turn.recipe.pool.real_share)
        recipe = self.turn.recipe.train.for_pictures(len(items))
        return request.model_copy(update={"items": items, "recipe": recipe})


def run_turn(world: World, number: int) -> TurnOutcome:
    """A turn of Flywheel 1, with one round at each gate."""
    began = time.monotonic()
    turn = open_turn(world, number)
    runner = NanoRunner(world, turn)
    with suppress(EditsAreEnough):
        run_flywheel1(turn, runner)
    edits = runner.asked.get(ENRICH.name)
    assert edits is None or isinstance(edits, EnrichRequest)
    closed = runner.closed.get(ENRICHED.name)
    counts = Counter(decision.verdict for decision in turn.reviews.decisions(closed).decisions) if closed else Counter()
    outcome = TurnOutcome(
        turn=number,
        edits=len(edits.items) if edits else 0,
        corrections_per_100_bare=_bare_corrections(world, edits) if edits else None,
        good=counts[Verdict.GOOD],
        corrected=counts[Verdict.NEEDS_CORRECTION],
        rejected=counts[Verdict.REJECT],
        judged=world.arm.review,
        seconds=0,
    )
    score, whole = runner.made.get(BENCHMARK.name), world.arm == ARMS["both_flywheels"]
    if isinstance(score, BenchmarkResult):
        outcome = replace(
            outcome,
            pass_rate=score.challenger.pass_rate,
            champion_pass_rate=score.champion.pass_rate if score.champion is not None else None,
            **(_trained_otherwise(world, turn) if whole and turn.champion() is None else {}),
            identity=score.challenger.identity,
            diversity=score.challenger.diversity,
            promoted=not world.arm.benchmark_decides or bool(score.comparison and score.comparison.promote),
        )
    return replace(outcome, seconds=time.monotonic() - began)


def _trained_otherwise(world: World, turn: Turn) -> dict[str, float | None]:
    """Pass rates of a first turn's pools trained for other steps, which tell longer training from better pictures."""
    first, challenger = turn.train_request("v1"), turn.train_request("challenger")
    epochs = round(first.recipe.steps * len(challenger.items) / len(first.items))
    return {
        "same_steps_pass_rate": _retrained(world, turn, challenger, first.recipe.steps),
        "longer_first_pass_rate": _retrained(world, turn, first, challenger.recipe.steps),
        "equal_epochs_pass_rate": _retrained(world, turn, challenger, epochs),
    }


def _retrained(world: World, turn: Turn, request: TrainRequest, steps: int) -> float | None:
    """Pass rate of a LoRA of the same pool with other steps; None if they are as many."""
    if request.recipe.steps == steps:
        return None
    changed = request.recipe.model_copy(update={"steps": steps})
    lora = world.stage(TRAIN, request.model_copy(update={"recipe": changed, "name": f"{request.name}-{steps}"})).lora
    card = turn.benchmark_request(None, lora).model_copy(update={"challenger": lora.digest, "champion": None})
    return world.stage(BENCHMARK, card).challenger.pass_rate


def open_turn(world: World, number: int) -> Turn:
    """A turn of the world's character."""
    store = world.store
    flow_run = f"{world.arm.name}-{world.name}-{number}"
    opened = Library(store).open_turn(world.name, flow_run, store.put_blob(world.recipe.to_bytes()))
    return ComparableTurn(
        store=store,
        character=Library(store).character(world.name),
        recipe=world.recipe,
        number=opened.number,
        flow_run=flow_run,
        name=f"{world.name}-t{opened.number}",
        folder=f"turns/{world.name}/{opened.number:04d}",
        arm=world.arm,
    )


def _bare_corrections(world: World, request: EnrichRequest) -> float | None:
    """What the turn's edits would have cost without Flywheel 2: the same plan and seeds by the bare editor.

    Only in the arm that has nothing else to do: it makes the same edits as the others.
    """
    if world.arm.flywheel_1 or not request.loras:
        return None
    images = world.stage(ENRICH, request.model_copy(update={"loras": ()})).images
    judged = judge(world.store, world.settings, world.store.get_images(images), world.truth())
    return 100 * sum(item.verdict is not Verdict.GOOD for item in judged) / max(1, len(judged))


def outcome_row(arm: Arm, character: str, outcome: TurnOutcome) -> dict[str, str | int | float | bool | None]:
    """A row of the result file."""
    return {
        "case": f"{arm.name} {character} turn {outcome.turn}",
        "arm": arm.name,
        "character": character,
        "turn": outcome.turn,
        "pass_rate": outcome.pass_rate,
        "champion_pass_rate": outcome.champion_pass_rate,
        "same_steps_pass_rate": outcome.same_steps_pass_rate,
        "longer_first_pass_rate": outcome.longer_first_pass_rate,
        "equal_epochs_pass_rate": outcome.equal_epochs_pass_rate,
        "identity": outcome.identity,
        "diversity": outcome.diversity,
        "promoted": outcome.promoted,
        "corrections_per_100": outcome.corrections_per_100,
        "corrections_per_100_bare": outcome.corrections_per_100_bare,
        "edits": outcome.edits,
        "good": outcome.good,
        "corrected": outcome.corrected,
        "rejected": outcome.rejected,
        "seconds": outcome.seconds,
    }
