"""Triplets from the decisions of all closed gates, imported ones, and the split into training and held-out edits."""

from collections.abc import Iterable, Sequence

from flenwheel_core.base.ids import Digest, derive_seed
from flenwheel_core.documents.decisions import DecisionSet, FinalDecision
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.triplets import Triplet, TripletSet
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.gates.settle import lessons
from flenwheel_core.store import Store
from flenwheel_core.store.triplets import imported_triplets

_ONE = 2**63


def collect_triplets(store: Store) -> TripletSet:
    """Every lesson a person gave: approved edits and corrected ones, of all characters and turns, in the order of gates.

    What a policy decided without anybody looking is no lesson. A lesson that was corrected at gate C stays corrected.
    """
    reviews = Reviews(store)
    found: list[Triplet] = []
    approvals: list[tuple[ReviewSession, DecisionSet]] = []
    for gate in reviews.gates():
        session, closed = reviews.get(gate), reviews.closed(gate)
        if closed is None or session.of_kind.lessons is None:
            continue
        if session.of_kind.lessons == "approves":
            approvals.append((session, reviews.decisions(closed)))
            continue
        records = {record.digest: record for record in store.get_images(session.images)}
        for decision in lessons(reviews.decisions(closed).decisions, session.of_kind):
            triplet = _triplet(decision, records[decision.image], gate=gate, character=session.character)
            if triplet is not None:
                found.append(triplet)
    found += imported_triplets(store).read()
    for _, decisions in sorted(approvals, key=lambda item: (item[0].turn, item[0].round)):
        found = corrected_lessons(found, decisions)
    return TripletSet(triplets=tuple({(t.source, t.prompt, t.target): t for t in found}.values()))


def corrected_lessons(triplets: Iterable[Triplet], decisions: DecisionSet) -> list[Triplet]:
    """The lessons with the corrected pictures of a gate C in place of the targets they correct."""
    corrections = {decision.image: decision for decision in decisions.decisions if decision.corrected}
    return [
        triplet if triplet.target not in corrections else _with_correction(triplet, corrections[triplet.target])
        for triplet in triplets
    ]


def _with_correction(triplet: Triplet, decision: FinalDecision) -> Triplet:
    """What the editor made stays the rejected picture, also if it was corrected once before."""
    return triplet.model_copy(
        update={
            "target": decision.usable,
            "kind": "corrected",
            "rejected": triplet.rejected or triplet.target,
            "author": decision.author,
        }
    )


def lesson_of(triplet: Triplet) -> tuple[Digest, str, Digest]:
    """Which lesson a triplet is: the same one before and after a person corrected its target at gate C."""
    return triplet.source, triplet.prompt, triplet.rejected or triplet.target


def _triplet(decision: FinalDecision, record: ImageRecord, *, gate: str, character: str) -> Triplet | None:
    target = decision.usable
    if record.kind is ImageKind.INJECTED:  # no edit of the photos that it was drawn from
        return None
    if target is None or not record.parents or record.prompt is None:
        return None
    return Triplet(
        source=record.parents[0],
        prompt=record.prompt,
        target=target,
        kind="corrected" if decision.corrected else "approved",
        rejected=record.digest if decision.corrected else None,
        character=character,
        turn=record.turn,
        gate=gate,
        author=decision.author,
        labels=record.labels,
        references=record.parents[1:] if record.kind is ImageKind.ENRICHED else (),
    )


LEAST_HELD_OUT = 2


def is_held_out(triplet: Triplet, share: float) -> bool:
    """True for a fixed share of all edits. It depends on source and prompt alone: once held out, never trained on."""
    return _place(triplet) < share


def split(triplets: Iterable[Triplet], share: float) -> tuple[tuple[Triplet, ...], tuple[Triplet, ...]]:
    """Triplets to train on, and held-out ones: at least two, which a small set would not have by its share alone."""
    everything = tuple(triplets)
    first = sorted({_place(triplet) for triplet in everything})[:LEAST_HELD_OUT]
    held = tuple(triplet for triplet in everything if is_held_out(triplet, share) or _place(triplet) in first)
    return tuple(triplet for triplet in everything if triplet not in held), held


def compared(held: Sequence[Triplet], number: int) -> tuple[Triplet, ...]:
    """So many of the held-out lessons for the comparison, spread over all characters and turns, in their order."""
    chosen = set(sorted(range(len(held)), key=lambda index: (_place(held[index]), index))[:number])
    return tuple(triplet for index, triplet in enumerate(held) if index in chosen)


def _place(triplet: Triplet) -> float:
    return derive_seed(0, "held out", triplet.source, triplet.prompt) / _ONE
