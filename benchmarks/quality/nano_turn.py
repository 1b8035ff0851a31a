"""One turn of each flywheel in the nano world, without a server: the stages and requests of the flows; a simulated reviewer decides."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar, cast

from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import DecisionSet, Verdict
from flenwheel_core.documents.images import ImageRecord, LoraUse
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.gates.kinds import ENRICHED, SYNTHETIC, KindOfGate
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.gates.settle import usable_pictures
from flenwheel_core.images.folder import find_sources
from flenwheel_core.library.characters import Character, Library, PoolEntry
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.nano.demo import load_truth, save_truth, write_sources
from flenwheel_core.nano.reviewer import Truth, judge, review_gate
from flenwheel_core.plans.planning import plan_edits, plan_generation
from flenwheel_core.plans.source_files import keep_files
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.runner.stage import BENCHMARK, EDIT_TRAIN, ENRICH, GENERATE, INGEST, SCREEN, TRAIN, Stage
from flenwheel_core.runner.worker import run_stage
from flenwheel_core.store import Store
from flows.turn import Turn, uses

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


ARMS = {
    arm.name: arm
    for arm in (
        Arm("both_flywheels"),
        Arm("no_screening", screening=False),
        Arm("no_review", review=False, flywheel_2=False),
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
        progress = Progress(stage.name, lambda event: None)
        trains = stage.name in (TRAIN.name, EDIT_TRAIN.name)
        result = run_stage(
            cast("Stage[StageRequest, StageResult]", stage),
            request,
            self.settings.model_copy(update={"gpu": self.training_gpu if trains else "cpu"}),
            progress,
            memory_level=0,
            stop=threading.Event(),
        )
        return cast("Result", result)

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


def run_turn(world: World, number: int) -> TurnOutcome:
    """Flywheel 1, as `flows.flywheel1` goes through it, with one round at each gate."""
    began = time.monotonic()
    turn = open_turn(world, number)
    ingest = turn.ingest_request()
    turn.take_in(ingest, world.stage(INGEST, ingest))
    decisions, edits = _gate_a(world, turn)
    counts = {verdict: sum(line.verdict is verdict for line in decisions.decisions) for verdict in Verdict}
    outcome = TurnOutcome(
        turn=number,
        edits=edits,
        corrections_per_100_bare=_bare_corrections(world, turn),
        good=counts[Verdict.GOOD],
        corrected=counts[Verdict.NEEDS_CORRECTION],
        rejected=counts[Verdict.REJECT],
        judged=world.arm.review,
        seconds=time.monotonic() - began,
    )
    return _character_flywheel(world, turn, outcome) if world.arm.flywheel_1 else outcome


def _character_flywheel(world: World, turn: Turn, outcome: TurnOutcome) -> TurnOutcome:
    """What follows gate A."""
    began = time.monotonic()
    champion = turn.champion()
    trained = None
    if champion is None:
        trained = champion = world.stage(TRAIN, turn.train_request("v1")).lora
    drawn = _gate_b(world, turn, champion)
    if not world.arm.real_floor:
        turn = _without_real(turn, drawn)
    challenger = world.stage(TRAIN, turn.train_request("challenger")).lora
    score = world.stage(BENCHMARK, turn.benchmark_request(champion, challenger))
    same_steps = _same_steps(world, turn, challenger) if trained and world.arm == ARMS["both_flywheels"] else None
    believed = score if world.arm.benchmark_decides else score.model_copy(update={"comparison": None})
    promotion = turn.promote(champion, challenger, believed)
    turn.end("promoted" if promotion is not None and promotion.lora != trained else "kept", score, "")
    return replace(
        outcome,
        pass_rate=score.challenger.pass_rate,
        champion_pass_rate=score.champion.pass_rate if score.champion is not None else None,
        same_steps_pass_rate=same_steps,
        identity=score.challenger.identity,
        diversity=score.challenger.diversity,
        promoted=bool(score.comparison and score.comparison.promote),
        seconds=outcome.seconds + time.monotonic() - began,
    )


def _same_steps(world: World, turn: Turn, challenger: LoraRecord) -> float | None:
    """Pass rate of a challenger on the same pool with the first LoRA's steps; None if the challenger had no more."""
    request, steps = turn.train_request("challenger"), turn.train_request("v1").recipe.steps
    if request.recipe.steps == steps:
        return None
    shorter = request.recipe.model_copy(update={"steps": steps})
    lora = world.stage(TRAIN, request.model_copy(update={"recipe": shorter, "name": f"{request.name}-short"})).lora
    card = turn.benchmark_request(None, challenger).model_copy(update={"challenger": lora.digest, "champion": None})
    return world.stage(BENCHMARK, card).challenger.pass_rate


def open_turn(world: World, number: int) -> Turn:
    """A turn of the world's character."""
    store = world.store
    flow_run = f"{world.arm.name}-{world.name}-{number}"
    opened = Library(store).open_turn(world.name, flow_run, store.put_blob(world.recipe.to_bytes()))
    return Turn(
        store=store,
        character=Library(store).character(world.name),
        recipe=world.recipe,
        number=opened.number,
        flow_run=flow_run,
        name=f"{world.name}-t{opened.number}",
        folder=f"turns/{world.name}/{opened.number:04d}",
    )


def edits_of(turn: Turn, loras: tuple[LoraUse, ...]) -> EnrichRequest:
    """Every turn edits towards the cells that the sources leave open, not only those still missing: so turns can be compared."""
    real = [entry for entry in turn.pool() if entry.real]
    sources = [entry.image for entry in real]
    return EnrichRequest(
        character=turn.character.ref(),
        sources=turn.store.put_images(sources),
        items=plan_edits(sources, real, turn.recipe, turn=turn.number),
        editor=turn.recipe.models.editor,
        loras=loras,
        sampler=turn.recipe.enrich.sampler,
        turn=turn.number,
        shift=turn.recipe.enrich.shift,
    )


def _gate_a(world: World, turn: Turn) -> tuple[DecisionSet, int]:
    loras = EditorLibrary(turn.store).loras(turn.recipe.models.editor) if world.arm.flywheel_2 else ()
    request = edits_of(turn, loras)
    images = world.stage(ENRICH, turn.frozen("enrich-r1", EnrichRequest, lambda: request)).images
    return _review(world, turn, images, ENRICHED), len(request.items)


def _bare_corrections(world: World, turn: Turn) -> float | None:
    """What the turn's edits would have cost without Flywheel 2: the same plan and seeds by the bare editor.

    Only in the arm that has nothing else to do: it makes the same edits as the others.
    """
    request = turn.store.get_document(f"{turn.folder}/enrich-r1", EnrichRequest)
    if world.arm.flywheel_1 or request is None or not request.loras:
        return None
    images = world.stage(ENRICH, request.model_copy(update={"loras": ()})).images
    judged = judge(world.store, world.settings, world.store.get_images(images), world.truth())
    return 100 * sum(item.verdict is not Verdict.GOOD for item in judged) / max(1, len(judged))


def _gate_b(world: World, turn: Turn, champion: object) -> list[ImageRecord]:
    items = plan_generation(turn.character.ref(), turn.pool(), turn.recipe, turn=turn.number)
    request = GenerateRequest(
        character=turn.character.ref(),
        items=items,
        base=turn.recipe.models.base,
        loras=uses(champion, turn.recipe.generate.lora_weight),  # type: ignore[arg-type]
        sampler=turn.recipe.generate.sampler,
        turn=turn.number,
    )
    images = world.stage(GENERATE, turn.frozen("generate-r1", GenerateRequest, lambda: request)).images
    _review(world, turn, images, SYNTHETIC)
    return list(turn.store.get_images(images))


def _review(world: World, turn: Turn, images: str, kind: KindOfGate) -> DecisionSet:
    """Screens, lets the simulated reviewer decide, and puts what is good into the pool, as the arm says."""
    screenings = None
    if world.arm.screening:
        request = turn.screen_request(f"{kind.step}-r1", images, strict=kind.strict)
        screenings = world.stage(SCREEN, request).screenings
    reviews = Reviews(turn.store)
    session = reviews.open(
        ReviewSession(
            gate=f"{turn.name}-{kind.step}-r1",
            kind=kind.name,
            character=world.name,
            turn=turn.number,
            round=1,
            images=images,
            screenings=screenings,
            references=turn.sources(),
            minimum=0,
        )
    )
    if world.arm.review:
        review_gate(turn.store, world.settings, session.gate, world.truth())
    closed = reviews.close(
        session.gate,
        "approve",
        "leave_out" if world.arm.review else "take_passed",
        override_minimum=True,
        reviewer="simulated reviewer",
    )
    decisions = reviews.decisions(closed)
    records = {record.digest: record for record in turn.store.get_images(images)}
    pictures = usable_pictures(decisions.decisions, records, reviews.corrections(session.gate), session.gate)
    turn.add_to_pool([turn.entry(record, decision.caption, gate=session.gate) for decision, record in pictures])
    return decisions


class _SyntheticTurn(Turn):
    """A turn whose pool holds nothing but the pictures its own champion drew: what happens without real data."""

    drawn: tuple[PoolEntry, ...] = ()

    def pool(self) -> list[PoolEntry]:
        return list(type(self).drawn)


def _without_real(turn: Turn, drawn: Sequence[ImageRecord]) -> Turn:
    entries = tuple(turn.entry(record, None, gate=SYNTHETIC.step) for record in drawn)
    kind = type("SyntheticTurn", (_SyntheticTurn,), {"drawn": entries})
    fields = {
        name: getattr(turn, name) for name in ("store", "character", "recipe", "number", "flow_run", "name", "folder")
    }
    return cast("Turn", kind(**fields))


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
