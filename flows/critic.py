"""A turn of the critic: it learns from all verdicts, a person sees at gate D how it does on turns it had not learned, and lets it through.

Only a critic that was let through may set pictures aside, and only where a recipe allows it. The order of pictures needs no leave: it
follows the newest critic, which learns after every gate.
"""

from prefect import flow

from flenwheel_core.critic.ladder import can_learn
from flenwheel_core.documents.critics import CriticLessons
from flenwheel_core.requests.critic_train import CriticTrainResult
from flenwheel_core.runner.stage import CRITIC_LOOK_TRAIN, CRITIC_TRAIN
from flows.critic_turn import CriticTurn
from flows.start import NothingToDo, plain_errors
from flows.turn_runner import PrefectRunner, StepRunner
from tasks.critic import open_critic_turn
from tasks.open_turn import NotBegun, open_store, recipe_of
from tasks.shared_turn import SharedTurnAsked


@flow(name="critic", flow_run_name="critic turn", description=__doc__, persist_result=False)
@plain_errors
def critic(
    character: str | None = None,
    recipe: str | None = None,
    only_when_waiting: bool = False,
    beside_open_turn: bool = False,
) -> str:
    """One turn of the critic.

    Args:
        character: Learn from this character's verdicts only; from everybody's if left empty.
        recipe: Recipe with the verifier and the critic's limits; the character's own if left empty.
        only_when_waiting: End at once unless as many new verdicts wait as the recipe's critic.train_after says.
        beside_open_turn: Begin although an earlier turn of the critic still waits at gate D; otherwise this run ends at once.
    """
    asked = SharedTurnAsked(
        character=character or None,
        recipe=recipe or None,
        only_when_waiting=only_when_waiting,
        beside_open_turn=beside_open_turn,
    )
    opened = open_critic_turn(asked)
    if isinstance(opened, NotBegun):
        raise NothingToDo(opened.reason)
    store = open_store()
    turn = CriticTurn(store, recipe_of(store, opened), asked.character, opened.flow_run, opened.number)
    return run_critic_turn(turn, PrefectRunner())


def run_critic_turn(turn: CriticTurn, runner: StepRunner) -> str:
    """All steps of a turn of the critic; returns how it ended, in words."""
    lessons = turn.lessons()
    wanted = turn.recipe.critic.minimum_verdicts
    if len(lessons.lessons) < wanted:
        turn.end("too few", lessons)
        return f"too few verdicts: {len(lessons.lessons)}; {wanted} are asked for"
    if not can_learn(lessons.lessons):
        turn.end("too few", lessons)
        return "nothing can be held out yet: the verdicts are all alike, or of one source"
    trained = _learn(turn, runner, "all", lessons, f"train {turn.name}")
    closed = runner.gate(turn.reviews, turn.gate_d(lessons, trained))
    if closed.verdict != "approve":
        turn.end("stopped", lessons)
        return "stopped at gate D"
    kept = turn.left_over(lessons, closed)
    if kept != lessons:
        trained = _learn(turn, runner, "kept", kept, f"train {turn.name} without what was left out")
    turn.promote(trained, closed)
    turn.end("promoted", kept)
    return f"promoted: {trained.summary()}"


def _learn(turn: CriticTurn, runner: StepRunner, step: str, lessons: CriticLessons, label: str) -> CriticTrainResult:
    """The critic of these verdicts. A vision-language model learns them first, where the recipe wants it."""
    look = turn.look_request(step, lessons)
    looked = None if look is None else runner.stage(CRITIC_LOOK_TRAIN, look, f"{label}: look")
    return runner.stage(CRITIC_TRAIN, turn.train_request(step, lessons, looked), label)
