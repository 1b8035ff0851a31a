"""What a turn asks the critic: to put the pictures of a gate in order, and to learn once the gate is closed."""

from dataclasses import dataclass
from datetime import UTC, datetime

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.critics import CriticLessons
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.kinds import KindOfGate
from flenwheel_core.lessons.verdicts import collect_verdicts, why_switched_off
from flenwheel_core.library.critics import CriticLearned, CriticLibrary
from flenwheel_core.requests.critic_score import CriticScoreRequest
from flenwheel_core.requests.critic_train import CriticTrainRequest
from flenwheel_core.runner.stage import CRITIC_SCORE, CRITIC_TRAIN
from flows.turn import Turn
from flows.turn_runner import StepRunner

OFF_IN_RECIPE = "critic.reject is off in the recipe"
NONE_PROMOTED = "no critic was let through at gate D"


@dataclass(frozen=True)
class Candidates:
    """The pictures of a gate that is about to open."""

    gate: str
    kind: KindOfGate
    images: Digest
    screenings: Digest


def put_in_order(turn: Turn, runner: StepRunner, step: str, candidates: Candidates) -> Digest | None:
    """What the critic says of a gate's pictures, a blob; None where the recipe wants no critic."""
    if not turn.recipe.critic.learns:
        return None
    request = turn.frozen(f"critic-{step}", CriticScoreRequest, lambda: _score_request(turn, candidates))
    return runner.stage(CRITIC_SCORE, request, f"order {candidates.gate}").view


def learn_from(turn: Turn, runner: StepRunner, step: str, closed: ClosedGate) -> None:
    """The critic learns from every verdict so far; what it is now orders the next gate."""
    if not turn.recipe.critic.learns:
        return

    def build() -> CriticTrainRequest:
        lessons = collect_verdicts(turn.store)
        return CriticTrainRequest(lessons=turn.store.put_blob(lessons.to_bytes()), verifier=_verifier(turn))

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


_NOTHING = CriticLessons(lessons=()).content_digest()


def _verifier(turn: Turn) -> str | None:
    return turn.recipe.models.verifier if turn.recipe.critic.embeddings else None


def _score_request(turn: Turn, candidates: Candidates) -> CriticScoreRequest:
    library, wanted, character = CriticLibrary(turn.store), turn.recipe.critic, turn.character.name
    newest, champion = library.newest(_verifier(turn)), library.champion()
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
        verifier=_verifier(turn),
        critic=newest.critic if newest is not None else None,
        guard=champion.critic if champion is not None else None,
        random_share=wanted.random_share,
        audit_share=wanted.audit_share,
        most_lost=wanted.most_lost,
        confidence=wanted.confidence,
        rejects=not not_because,
        not_because=not_because,
    )
