"""A turn of Flywheel 2 in the nano world, without a server: the flow itself, its stages in other processes.

Gate C takes what the checks passed.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from benchmarks.quality.nano_turn import World
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate, Verdict
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.lessons.gather import Lessons, gather_lessons
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.nano.demo import load_truth
from flenwheel_core.nano.reviewer import judge
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.edit_compare import ComparedEdit, EditCompareRequest, EditCompareResult
from flenwheel_core.requests.edit_train import EditTrainRequest, EditTrainResult
from flenwheel_core.runner.stage import EDIT_COMPARE, EDIT_TRAIN, Stage, StageContext
from flenwheel_core.stages.edit_compare import held_out_edits
from flenwheel_core.stages.enrich import make_edits
from flenwheel_core.store import Store
from flows.editor_turn import EditorTurn
from flows.flywheel2 import run_editor_turn

Result = TypeVar("Result", bound=StageResult)
Request = TypeVar("Request", bound=StageRequest)

LEARNING_THREADS = 3


@dataclass(frozen=True)
class EditorOutcome:
    """What one turn gave, with the simulated reviewer's own verdicts on the held-out edits."""

    score: EditCompareResult
    lessons: int
    corrections_per_100_before: float
    corrections_per_100_after: float


class EditorRunner:
    """Carries out a turn of `flows.flywheel2`: the held-out edits are drawn in so many shares at once."""

    def __init__(self, world: World, processes: ProcessPoolExecutor, shares: int) -> None:
        self.world, self._processes, self._shares = world, processes, shares
        self.outcome: EditorOutcome | None = None
        """Known when the comparison has been made."""
        self._lessons = 0

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        if isinstance(request, EditTrainRequest):
            trained = self._processes.submit(train_editor, self.world, request).result()
            self._lessons = trained.lora.images
            return cast("Result", trained)
        assert isinstance(request, EditCompareRequest)
        shares = range(self._shares)
        for drawing in [
            self._processes.submit(draw_share, self.world, request, share, self._shares) for share in shares
        ]:
            drawing.result()
        self.outcome = self._processes.submit(compare, self.world, request, self._lessons).result()
        return cast("Result", self.outcome.score)

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        opened = reviews.open(session)
        return reviews.close(opened.gate, "approve", "take_passed", override_minimum=True, reviewer="simulated")

    def lessons(self, character: str | None) -> Lessons:
        return gather_lessons(self.world.store, character)

    def editor_report(self, turn: str, lessons: Lessons, score: EditCompareResult) -> None:
        return


def editor_turn(world: World, number: int, processes: ProcessPoolExecutor, shares: int) -> EditorOutcome | None:
    """Flywheel 2 over all characters of the arm; None if there are too few lessons."""
    runner = EditorRunner(world, processes, shares)
    turn = EditorTurn(world.store, world.recipe, None, f"{number:08d}-{world.arm.name}", number)
    print(f"{world.arm.name}: {run_editor_turn(turn, runner)}", flush=True)
    return runner.outcome


def train_editor(world: World, request: EditTrainRequest) -> EditTrainResult:
    """In a process of its own."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads, LEARNING_THREADS))  # the other processes wait for it
    try:
        return world.stage(EDIT_TRAIN, request)
    finally:
        torch.set_num_threads(threads)


def draw_share(world: World, request: EditCompareRequest, share: int, shares: int) -> None:
    """Draws every `shares`-th of the held-out edits by both editors, as one of so many processes."""
    for loras in (request.champion, request.challenger):
        edits = held_out_edits(request, loras, world.store)
        scratch = world.settings.scratch / "held-out" / f"{edits.key()}-{share}"
        scratch.mkdir(parents=True, exist_ok=True)
        progress = Progress("enrich", lambda event: None)
        context = StageContext(world.store, world.settings, scratch, progress, 0, threading.Event())
        make_edits(edits, context, edits.items[share::shares])


def compare(world: World, request: EditCompareRequest, lessons: int) -> EditorOutcome:
    """In a process of its own: the comparison, and what the simulated reviewer says to the same edits."""
    score = world.stage(EDIT_COMPARE, request)
    records, half = world.store.get_images(score.images), len(request.items)
    before, after = (_to_correct(world, request.items, part) for part in (records[:half], records[half:]))
    return EditorOutcome(score, lessons, before, after)


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


def _to_correct(world: World, items: Sequence[ComparedEdit], records: Sequence[ImageRecord]) -> float:
    """How many of 100 held-out edits the reviewer would not have taken as they are."""
    bad = 0
    for name in dict.fromkeys(item.character for item in items):
        own = [record for item, record in zip(items, records, strict=True) if item.character == name]
        truth = load_truth(world.settings.root / f"{name}-truth.json")
        bad += sum(judged.verdict is not Verdict.GOOD for judged in judge(world.store, world.settings, own, truth))
    return 100 * bad / len(items)
