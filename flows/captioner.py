"""A turn of the captioner: it learns the captions that people wrote, and is promoted only if it came nearer to them on other pictures.

The run suspends at gate D until a person has seen the comparison and approves the captions. The next ingest describes pictures with what
was promoted.
"""

from prefect import flow

from flenwheel_core.documents.caption_lessons import CaptionLessons
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.requests.caption_compare import CaptionCompareResult
from flenwheel_core.runner.stage import CAPTION_COMPARE, VL_TRAIN
from flows.captioner_turn import CaptionerTurn
from flows.start import NothingToDo, plain_errors
from flows.turn_runner import PrefectRunner, StepRunner
from tasks.captioner import open_captioner_turn
from tasks.open_turn import NotBegun, open_store, recipe_of
from tasks.shared_turn import SharedTurnAsked


@flow(name="captioner", flow_run_name="captioner turn", description=__doc__, persist_result=False)
@plain_errors
def captioner(
    character: str | None = None,
    recipe: str | None = None,
    only_when_waiting: bool = False,
    beside_open_turn: bool = False,
) -> str:
    """One turn of the captioner.

    Args:
        character: Learn from this character's captions only; from everybody's if left empty.
        recipe: Recipe with the captioner and its training; the character's own if left empty.
        only_when_waiting: End at once unless as many new captions wait as the recipe's captioner.train_after says.
        beside_open_turn: Begin although an earlier turn of the captioner still waits at gate D; otherwise this run ends at once.
    """
    asked = SharedTurnAsked(
        character=character or None,
        recipe=recipe or None,
        only_when_waiting=only_when_waiting,
        beside_open_turn=beside_open_turn,
    )
    opened = open_captioner_turn(asked)
    if isinstance(opened, NotBegun):
        raise NothingToDo(opened.reason)
    store = open_store()
    turn = CaptionerTurn(store, recipe_of(store, opened), asked.character, opened.flow_run, opened.number)
    return run_captioner_turn(turn, PrefectRunner())


def run_captioner_turn(turn: CaptionerTurn, runner: StepRunner) -> str:
    """All steps of a turn of the captioner; returns how it ended, in words."""
    lessons = turn.lessons()
    missing = _missing(turn, lessons)
    if missing:
        turn.end("too few", lessons)
        return missing
    lora, score = _learn(turn, runner, lessons, "all")
    closed = runner.gate(turn.reviews, turn.gate_d(lessons, score))
    if closed.verdict != "approve":
        turn.end("stopped", lessons)
        return "stopped at gate D"
    kept = turn.kept(lessons, closed)
    if kept != lessons:
        missing = _missing(turn, kept)
        if missing:
            turn.end("stopped", kept)  # a person answered: the same captions are not offered again every night
            return missing
        lora, score = _learn(turn, runner, kept, "kept")
    if score.comparison.promote:
        turn.promote(lora, score, kept, closed)
    turn.end("promoted" if score.comparison.promote else "kept", kept)
    return score.summary()


def _missing(turn: CaptionerTurn, lessons: CaptionLessons) -> str:
    """Why nothing can be learned from these lessons; empty if something can."""
    wanted = turn.recipe.captioner.minimum_captions
    if lessons.corrected < wanted:
        return f"too few captions: people wrote {lessons.corrected}; captioner.minimum_captions asks for {wanted}"
    learned, held = turn.split(lessons)
    if not learned or not held:
        return "nothing could be held out for a comparison: there are too few captions"
    return ""


def _learn(
    turn: CaptionerTurn, runner: StepRunner, lessons: CaptionLessons, step: str
) -> tuple[LoraRecord, CaptionCompareResult]:
    """A LoRA of the lessons, and how it did on those held out."""
    learned, held = turn.split(lessons)
    again = "" if step == "all" else " again"
    trained = runner.stage(VL_TRAIN, turn.train_request(step, learned), f"train {turn.name}{again}")
    asked = turn.compare_request(step, held, trained.lora)
    return trained.lora, runner.stage(CAPTION_COMPARE, asked, f"compare {turn.name}{again}")
