"""What a turn asks the critic: to put the pictures of a gate in order, and to learn once the gate is closed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from prefect.exceptions import PrefectException

from flenwheel_core.base.errors import InterruptedStageError
from flenwheel_core.base.ids import Digest
from flenwheel_core.critic.asking import ask_critics, knows_nothing, read_critic
from flenwheel_core.critic.ladder import can_learn
from flenwheel_core.documents.critics import CriticLessons
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.kinds import KindOfGate
from flenwheel_core.lessons.verdicts import collect_verdicts, why_switched_off
from flenwheel_core.library.critics import CriticLearned, CriticLibrary
from flenwheel_core.requests.critic_look import CriticLookRequest
from flenwheel_core.requests.critic_score import CriticScoreRequest
from flenwheel_core.requests.critic_train import CriticTrainRequest
from flenwheel_core.runner.stage import CRITIC_LOOK, CRITIC_SCORE, CRITIC_TRAIN
from flows.turn import Turn
from flows.turn_runner import StepRunner
from tasks.progress_artifact import say

Done = TypeVar("Done")

OFF_IN_RECIPE = "critic.reject is off in the recipe"
NONE_PROMOTED = "no critic was let through at gate D"
NOT_LOOKED = "the vision-language model that the promoted critic asks could not look at the pictures"


@dataclass(frozen=True)
class Candidates:
    """The pictures of a gate that is about to open."""

    gate: str
    kind: KindOfGate
    images: Digest
    screenings: Digest


def put_in_order(turn: Turn, runner: StepRunner, step: str, candidates: Candidates) -> Digest | None:
    """What the critic says of a gate's pictures, a blob; None where the recipe wants no critic, or it fails: the gate opens as made.

    At a replay what the gate was opened with stands. Where no critic tells pictures apart yet, no process is started.
    """
    if not turn.recipe.critic.learns:
        return None
    standing = turn.reviews.find(candidates.gate)
    if standing is not None:
        return standing.critic

    def order() -> Digest:
        request = turn.frozen(f"critic-{step}", CriticScoreRequest, lambda: _score_request(turn, candidates))
        if knows_nothing(turn.store, request):
            return turn.store.put_blob(ask_critics(turn.store, request).to_bytes())
        return runner.stage(
            CRITIC_SCORE, _looked_at(turn, runner, candidates, request), f"order {candidates.gate}"
        ).view

    return _tried(order, f"The critic could not put the pictures of {candidates.gate} in order: they stand as made")


def _looked_at(
    turn: Turn, runner: StepRunner, candidates: Candidates, request: CriticScoreRequest
) -> CriticScoreRequest:
    """The request with what the promoted critic's looker says, where that may set pictures aside; if it fails, none are.

    Where nothing is set aside anyway, the critic that orders says what it would do: it needs no looker.
    """
    looker = read_critic(turn.store, request.guard).looker if request.guard is not None and request.rejects else None
    if looker is None:
        return request
    asked = CriticLookRequest(looker=looker, images=candidates.images, screenings=candidates.screenings)
    looked = _tried(
        lambda: runner.stage(CRITIC_LOOK, asked, f"look at {candidates.gate}"),
        f"The pictures of {candidates.gate} could not be looked at for the critic: none is set aside",
    )
    if looked is None:
        return request.model_copy(update={"rejects": False, "not_because": NOT_LOOKED})
    return request.model_copy(update={"looks": looked.looks})


def learn_from(turn: Turn, runner: StepRunner, step: str, closed: ClosedGate) -> None:
    """The critic learns from every verdict so far; what it is now orders the next gate. If it fails, the one before goes on ordering.

    Nothing is learned, and no process started, while the verdicts are too few or all alike.
    """
    if not turn.recipe.critic.learns:
        return

    def build() -> CriticTrainRequest:
        lessons = collect_verdicts(turn.store)
        if not can_learn(lessons.lessons):
            lessons = CriticLessons(lessons=())
        return CriticTrainRequest(lessons=turn.store.put_blob(lessons.to_bytes()), verifier=turn.recipe.critic_verifier)

    def learn() -> None:
        request = turn.frozen(f"critic-lessons-{step}", CriticTrainRequest, build)
        if request.lessons == _NOTHING:
            return
        result = runner.stage(CRITIC_TRAIN, request, f"critic after {closed.gate}")
        CriticLibrary(turn.store).learned(
            CriticLearned(
                at=datetime.now(UTC),
                critic=result.critic,
                rung=result.rung,
                verdicts=result.lessons,
                gate=closed.gate,
                verifier=request.verifier,
            )
        )

    _tried(learn, f"The critic could not learn from {closed.gate}")


_NOTHING = CriticLessons(lessons=()).content_digest()


def _tried(step: Callable[[], Done], otherwise: str) -> Done | None:
    """What a step of the critic gives; None if it fails, and the log says why: an aid to ordering ends no turn. A stop does."""
    try:
        return step()
    except (InterruptedStageError, PrefectException):
        raise
    except Exception as error:
        say(f"{otherwise}.\n{error or type(error).__name__}", logging.WARNING)
        return None


def _score_request(turn: Turn, candidates: Candidates) -> CriticScoreRequest:
    library, wanted, character = CriticLibrary(turn.store), turn.recipe.critic, turn.character.name
    newest, champion = library.newest(turn.recipe.critic_verifier), library.champion()
    if not wanted.reject:
        not_because = OFF_IN_RECIPE
    elif champion is None:
        not_because = NONE_PROMOTED
    else:
        not_because = why_switched_off(turn.store, champion.critic)
    return CriticScoreRequest(
        gate=candidates.gate,
        kind=candidates.kind.name,
        character=character,
        images=candidates.images,
        screenings=candidates.screenings,
        threshold=turn.fingerprint().threshold,
        verifier=turn.recipe.critic_verifier,
        critic=newest.critic if newest is not None else None,
        guard=champion.critic if champion is not None else None,
        random_share=wanted.random_share,
        audit_share=wanted.audit_share,
        most_lost=wanted.most_lost,
        confidence=wanted.confidence,
        rejects=not not_because,
        not_because=not_because,
    )
