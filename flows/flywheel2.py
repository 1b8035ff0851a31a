"""Flywheel 2: the editor learns from what people approved and corrected, and is promoted only if it got better on edits it never saw.

The run suspends at gate C until a person approves the lessons. The next turn of Flywheel 1 edits with the promoted editor.
"""

from prefect import flow

from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.lessons.gather import Lessons
from flenwheel_core.lessons.waiting import waiting_triplets
from flenwheel_core.runner.stage import EDIT_COMPARE, EDIT_TRAIN
from flows.editor_turn import EditorTurn
from flows.start import NothingToDo, plain_errors
from flows.turn_runner import EditorTurnRunner, PrefectRunner
from tasks.editor import EditorTurnAsked, open_editor_turn
from tasks.open_turn import NotBegun, open_store, recipe_of


@flow(name="flywheel-2", flow_run_name="editor turn", description=__doc__, persist_result=False)
@plain_errors
def flywheel2(
    character: str | None = None,
    recipe: str | None = None,
    only_when_waiting: bool = False,
    offer_stopped: bool = False,
    beside_open_turn: bool = False,
) -> str:
    """One turn of Flywheel 2.

    Args:
        character: Learn from this character's edits only; from everybody's if left empty.
        recipe: Recipe with the editor and its training; the character's own if left empty.
        only_when_waiting: End at once unless as many new triplets wait as the recipe's editor.train_after says.
        offer_stopped: Offer lessons again that a person stopped at gate C, although no new ones came since.
        beside_open_turn: Begin although an earlier turn of the editor still waits at gate C or works; otherwise this run ends at once.
    """
    turn = start_editor_turn(
        EditorTurnAsked(
            character=character or None,
            recipe=recipe or None,
            only_when_waiting=only_when_waiting,
            offer_stopped=offer_stopped,
            beside_open_turn=beside_open_turn,
        )
    )
    return run_editor_turn(turn, PrefectRunner())


def run_editor_turn(turn: EditorTurn, runner: EditorTurnRunner) -> str:
    """All steps of a turn of the editor; returns how it ended, in words."""
    for round_ in range(1, turn.recipe.gates.rounds + 1):
        lessons = turn.lessons(round_, runner.lessons)
        if lessons.passed + lessons.doubtful < turn.recipe.editor.minimum_triplets:
            turn.end("too few", lessons)
            return f"too few lessons: {lessons.summary()}; {turn.recipe.editor.minimum_triplets} are asked for"
        closed = runner.gate(turn.reviews, turn.gate_c(lessons, round_))
        if closed.verdict == "approve":
            return learn(turn, runner, lessons, closed)
        if closed.verdict == "stop":
            break
    turn.end("stopped", lessons)
    return "stopped at gate C"


def learn(turn: EditorTurn, runner: EditorTurnRunner, lessons: Lessons, closed: ClosedGate) -> str:
    """Train on the approved lessons, compare on the held-out ones, promote or keep."""
    chosen = turn.chosen(lessons, closed)
    trained = runner.stage(EDIT_TRAIN, turn.train_request(chosen), f"train {turn.name}")
    score = runner.stage(EDIT_COMPARE, turn.compare_request(chosen, trained.lora), f"compare {turn.name}")
    runner.editor_report(turn.name, lessons, score)
    if score.comparison.promote:
        turn.promote(trained.lora, score)
    turn.end("promoted" if score.comparison.promote else "kept", lessons)
    later = waiting_triplets(turn.library.store, turn.character)
    return score.summary() + (f"; {later} lessons came after gate C opened and wait for the next turn" if later else "")


def start_editor_turn(asked: EditorTurnAsked) -> EditorTurn:
    """The turn of this flow run, the same one at every replay. Raises NothingToDo if none is to begin."""
    opened = open_editor_turn(asked)
    if isinstance(opened, NotBegun):
        raise NothingToDo(opened.reason)
    store = open_store()
    return EditorTurn(
        store=store,
        recipe=recipe_of(store, opened),
        character=asked.character,
        flow_run=opened.flow_run,
        number=opened.number,
    )
