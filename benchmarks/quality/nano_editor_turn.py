"""One turn of Flywheel 2 in the nano world: the stages and requests of the flow, without a server; gate C takes what the checks passed."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.quality.nano_turn import World
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.lessons.gather import Lessons, gather_lessons
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.nano.demo import load_truth
from flenwheel_core.nano.reviewer import judge
from flenwheel_core.requests.edit_compare import ComparedEdit, EditCompareRequest, EditCompareResult
from flenwheel_core.runner.stage import EDIT_COMPARE, EDIT_TRAIN, StageContext
from flenwheel_core.stages.edit_compare import held_out_edits
from flenwheel_core.stages.enrich import make_edits
from flenwheel_core.store import Store
from flows.editor_turn import ChosenLessons, EditorTurn


@dataclass(frozen=True)
class TrainedEditor:
    """What a turn has before its held-out edits are drawn."""

    lessons: Lessons
    chosen: ChosenLessons
    lora: LoraRecord


@dataclass(frozen=True)
class EditorOutcome:
    """What one turn gave, with the simulated reviewer's own verdicts on the held-out edits."""

    score: EditCompareResult
    lessons: int
    corrections_per_100_before: float
    corrections_per_100_after: float


def train_editor(world: World, number: int) -> TrainedEditor | None:
    """Gate C over all characters of the arm, and the editor's LoRA; None if there are too few lessons."""
    store, turn = world.store, _turn(world, number)
    lessons = turn.lessons(1, partial(gather_lessons, store))
    if lessons.passed < world.recipe.editor.minimum_triplets:
        return None
    session = turn.reviews.open(turn.gate_c(lessons, 1))
    closed = turn.reviews.close(session.gate, "approve", "take_passed", override_minimum=True, reviewer="simulated")
    chosen = turn.chosen(lessons, closed)
    return TrainedEditor(lessons, chosen, world.stage(EDIT_TRAIN, turn.train_request(chosen)).lora)


def draw_share(world: World, number: int, trained: TrainedEditor, share: int, shares: int) -> None:
    """Draws every `shares`-th of the held-out edits by both editors, as one of so many processes."""
    request = _compare(world, number, trained)
    for loras in (request.champion, request.challenger):
        edits = held_out_edits(request, loras, world.store)
        scratch = world.settings.scratch / "held-out" / f"{edits.key()}-{share}"
        scratch.mkdir(parents=True, exist_ok=True)
        progress = Progress("enrich", lambda event: None)
        context = StageContext(world.store, world.settings, scratch, progress, 0, threading.Event())
        make_edits(edits, context, edits.items[share::shares])


def conclude(world: World, number: int, trained: TrainedEditor) -> EditorOutcome:
    """The comparison, and the promotion if it says so."""
    store, turn = world.store, _turn(world, number)
    request = _compare(world, number, trained)
    score = world.stage(EDIT_COMPARE, request)
    if score.comparison.promote:
        turn.promote(trained.lora, score)
    turn.end("promoted" if score.comparison.promote else "kept", trained.lessons)
    records, half = store.get_images(score.images), len(request.items)
    before, after = (_to_correct(world, request.items, part) for part in (records[:half], records[half:]))
    return EditorOutcome(score, trained.lora.images, before, after)


def lend_editor(world: World, other: Path, number: int) -> bool:
    """Promotes the editor that an earlier run in the workspace `other` promoted after this turn; False if it promoted none.

    Flywheel 2 learns from gate A alone, so it comes to the same in every arm that reviews the same edits.
    """
    settings = Settings(workspace=other, store=None)
    theirs = Store(settings.store_url, settings.store_options)
    promotions = EditorLibrary(theirs).champions()
    for promotion in promotions:
        if promotion.flow_run.startswith(f"{number:08d}-"):
            world.store.put_blob(theirs.get_blob(promotion.lora.digest))
            EditorLibrary(world.store).promote(promotion)
            return True
    return False


def _turn(world: World, number: int) -> EditorTurn:
    return EditorTurn(world.store, world.recipe, None, f"{number:08d}-{world.arm.name}", number)


def _compare(world: World, number: int, trained: TrainedEditor) -> EditCompareRequest:
    return _turn(world, number).compare_request(trained.chosen, trained.lora)


def _to_correct(world: World, items: Sequence[ComparedEdit], records: Sequence[ImageRecord]) -> float:
    """How many of 100 held-out edits the reviewer would not have taken as they are."""
    bad = 0
    for name in dict.fromkeys(item.character for item in items):
        own = [record for item, record in zip(items, records, strict=True) if item.character == name]
        truth = load_truth(world.settings.root / f"{name}-truth.json")
        bad += sum(judged.verdict is not Verdict.GOOD for judged in judge(world.store, world.settings, own, truth))
    return 100 * bad / len(items)
