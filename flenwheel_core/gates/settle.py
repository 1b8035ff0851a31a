"""From verdicts to what they make usable: the one place that says which decisions count, and for what.

A decision is checked when it is given, frozen when its gate closes, and then feeds the pool, the editor's lessons, or another round.
`FinalDecision.usable` says which picture a verdict leaves to train on; here is everything that is said of many of them.
"""

from collections.abc import Iterable, Iterator, Mapping

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.decisions import Decision, FinalDecision, UndecidedPolicy, Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.scores import Screening
from flenwheel_core.gates.fold import GateState
from flenwheel_core.gates.kinds import KindOfGate


def check_decision(decision: Decision, kind: KindOfGate) -> None:
    """Raises InputError for a decision of which a part would count for nothing: nobody's work is taken in and then ignored."""
    if decision.verdict is not Verdict.NEEDS_CORRECTION and (decision.correction or decision.better_prompt):
        raise InputError("A corrected picture or a better prompt goes with the verdict needs_correction only.")
    if decision.better_prompt and kind.made_again is None:
        raise InputError(
            f"This gate takes no better prompts: it shows {kind.title}, and none of them is made again.",
            remedy="Upload a corrected picture, or reject it.",
        )
    if decision.verdict is Verdict.NEEDS_CORRECTION and not kind.takes_corrections:
        raise InputError(
            f"This gate takes no corrections: it shows {kind.title}.",
            remedy="Good keeps a verdict as a lesson, reject leaves it out.",
        )


def final(decision: Decision) -> FinalDecision | None:
    """What a standing decision comes to when its gate closes; None for one that says nothing of the picture's fate."""
    if decision.verdict is None:
        return None
    return FinalDecision(
        image=decision.image,
        verdict=decision.verdict,
        reasons=decision.reasons,
        caption=decision.caption,
        correction=decision.correction,
        better_prompt=decision.better_prompt,
        author=decision.author,
    )


def settle(
    images: tuple[ImageRecord, ...],
    screenings: Mapping[Digest, Screening],
    state: GateState,
    undecided: UndecidedPolicy,
    reviewer: str,
    *,
    set_aside: Mapping[Digest, str] | None = None,
) -> tuple[FinalDecision, ...]:
    """The final decision about each picture, in the gate's order; undecided ones as the policy says.

    A picture that authors disagree about is left out whatever the policy: nobody's verdict wins silently. What the critic `set_aside`,
    signed by it, is rejected unless somebody decided otherwise.
    """
    found, aside = [], set_aside or {}
    for record in images:
        picture = state.picture(record.digest)
        decided = None if picture.decision is None else final(picture.decision)
        if decided is not None:
            found.append(decided)
        elif record.digest in aside and not picture.conflict:
            found.append(
                FinalDecision(image=record.digest, verdict=Verdict.REJECT, author=aside[record.digest], by_policy=True)
            )
        elif undecided == "take_passed" and not picture.conflict:
            screening = screenings.get(record.digest)
            if screening is not None and screening.outcome == "pass":
                found.append(
                    FinalDecision(
                        image=record.digest,
                        verdict=Verdict.GOOD,
                        caption=None if picture.decision is None else picture.decision.caption,
                        author=reviewer,
                        by_policy=True,
                    )
                )
    return tuple(found)


def usable(decisions: Iterable[FinalDecision]) -> tuple[FinalDecision, ...]:
    """The decisions that leave a picture to train on: what counts towards a gate's minimum."""
    return tuple(decision for decision in decisions if decision.usable is not None)


def enough(decisions: Iterable[FinalDecision], minimum: int) -> bool:
    """True if the decisions leave as many pictures to train on as their gate asks for."""
    return len(usable(decisions)) >= minimum


def lessons(decisions: Iterable[FinalDecision], kind: KindOfGate) -> tuple[FinalDecision, ...]:
    """The decisions from which the editor learns.

    What a policy decided without anybody looking gives no lesson, but where lessons are approved it lets them through.
    """
    if kind.lessons is None:
        return ()
    return tuple(decision for decision in usable(decisions) if kind.lessons == "approves" or not decision.by_policy)


def usable_pictures(
    decisions: Iterable[FinalDecision],
    records: Mapping[Digest, ImageRecord],
    corrections: Mapping[Digest, ImageRecord],
    gate: str,
) -> Iterator[tuple[FinalDecision, ImageRecord]]:
    """Good pictures, and the corrected ones in place of those that needed correction, each with what was decided."""
    for decision in decisions:
        record, picture = records[decision.image], decision.usable
        if picture is None:
            continue
        if decision.corrected:
            record = corrections.get(picture) or _corrected(record, picture, gate)
        yield decision, record


def _corrected(made: ImageRecord, correction: Digest, gate: str) -> ImageRecord:
    """The record of a corrected picture that came without one."""
    return made.model_copy(
        update={
            "digest": correction,
            "kind": ImageKind.CORRECTED,
            "parents": (*made.parents, made.digest),
            "stage": "review",
            "item": f"{gate}-{made.digest[:12]}",
        }
    )
