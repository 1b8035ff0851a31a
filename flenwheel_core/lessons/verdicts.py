"""What closed gates teach the critic: every verdict that a person gave, with what was known of the picture before."""

from collections.abc import Iterator

from flenwheel_core.base.ids import Digest
from flenwheel_core.critic.audit import AuditedGate, audited_gate, broken_by
from flenwheel_core.critic.knowledge import judgeables
from flenwheel_core.critic.order import lot
from flenwheel_core.documents.critics import CriticLesson, CriticLessons
from flenwheel_core.documents.decisions import FinalDecision
from flenwheel_core.gates.session import Reviews, ReviewSession, critic_view
from flenwheel_core.library.characters import Library
from flenwheel_core.store import Store

DRAWN_SHARE = 0.1
"""Where a gate keeps no view of a critic, so much of it counts as drawn by lot: the least that a recipe may ask for."""


def collect_verdicts(store: Store, character: str | None = None) -> CriticLessons:
    """The verdicts of a character, or of all, in the order of gates. What a policy or the critic decided is no lesson."""
    reviews, library = Reviews(store), Library(store)
    found: list[CriticLesson] = []
    for gate in reviews.gates():
        session = reviews.get(gate)
        if session.of_kind.feeds_pool and (character is None or session.character == character):
            found += _of_gate(store, reviews, library, session)
    return CriticLessons(lessons=tuple(found))


def _of_gate(store: Store, reviews: Reviews, library: Library, session: ReviewSession) -> Iterator[CriticLesson]:
    closed = reviews.closed(session.gate)
    if closed is None:
        return
    decided = {line.image: line for line in reviews.decisions(closed).decisions if not line.by_policy}
    if not decided:
        return
    facts = library.facts(session.character)
    threshold = facts.fingerprint.threshold if facts is not None and facts.fingerprint is not None else None
    screenings = store.get_screenings(session.screenings) if session.screenings is not None else ()
    records = store.get_images(session.images)
    fair = _fair(store, reviews, session, decided, len(records))
    pictures = judgeables(
        [record for record in records if record.digest in decided],
        {row.image: row for row in screenings},
        character=session.character,
        kind=session.kind,
        threshold=threshold,
    )
    for picture in pictures:
        decision = decided[picture.image]
        yield CriticLesson(
            **{name: getattr(picture, name) for name in type(picture).model_fields},
            gate=session.gate,
            turn=session.turn,
            verdict=decision.verdict,
            reasons=decision.reasons,
            fair=picture.image in fair,
        )


def _fair(
    store: Store, reviews: Reviews, session: ReviewSession, decided: dict[Digest, FinalDecision], pictures: int
) -> set[Digest]:
    """The pictures whose verdict bounds a loss: all, if every one was looked at; else those that were drawn by lot.

    Where a threshold decided about many at once nobody knows what was good among them, so nothing of that gate counts.
    """
    if any(line.by_rule for line in reviews.current(session.gate).values()):
        return set()
    view = critic_view(store, session.critic) if session.critic is not None else None
    if view is not None and view.rejects:
        return {row.image for row in view.pictures if row.audit} & decided.keys()
    if len(decided) == pictures:
        return set(decided)
    if view is not None:
        return {row.image for row in view.pictures if row.by_lot} & decided.keys()
    return {image for image in decided if lot(session.gate, image) < DRAWN_SHARE}


def why_switched_off(store: Store, guard: Digest) -> str:
    """Why this critic may not reject any more, in words; empty while the audit finds nothing."""
    gates, bound = audited_gates(store, guard)
    return broken_by(gates, bound) if gates else ""


def audited_gates(store: Store, guard: Digest) -> tuple[list[AuditedGate], float]:
    """What the gates where this critic rejected told about it, in the order of turns; and the loosest bound that it promised there."""
    reviews = Reviews(store)
    found: list[tuple[tuple[int, int, str], AuditedGate]] = []
    bound = 0.0
    for gate in reviews.gates():
        session, closed = reviews.get(gate), reviews.closed(gate)
        if closed is None or session.critic is None:
            continue
        view = critic_view(store, session.critic)
        if view.guard != guard or not view.rejects or view.cut is None:
            continue
        bound = max(bound, view.cut.bound)
        decisions = reviews.decisions(closed).decisions
        verdicts = {line.image: line.verdict for line in decisions if not line.by_policy}
        found.append(((session.turn, session.round, gate), audited_gate(gate, view, verdicts)))
    return [one for _, one in sorted(found, key=lambda item: item[0])], bound
