"""Which lessons still wait for a person's answer at gate C, and which a run of Flywheel 2 offered there."""

from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.lessons.collect import collect_triplets, lesson_of
from flenwheel_core.lessons.gather import Lessons
from flenwheel_core.library.editors import ANSWERED, EditorLibrary
from flenwheel_core.store import Store
from flenwheel_core.store.triplets import get_triplets


def waiting_triplets(store: Store, character: str | None = None) -> int:
    """Lessons, of a character or of all, that no run offered to a person who answered: learned from, or stopped."""
    answered = {
        lesson_of(triplet)
        for run in EditorLibrary(store).ended_runs()
        if run.outcome in ANSWERED
        for triplet in get_triplets(store, run.triplets).triplets
    }
    return sum(
        lesson_of(triplet) not in answered
        for triplet in collect_triplets(store).triplets
        if character is None or triplet.character == character
    )


def offered_triplets(store: Store, flow_run: str) -> tuple[Triplet, ...]:
    """The lessons that a run offered at gate C; none if it did not come so far."""
    found: tuple[Triplet, ...] = ()
    for name in store.list_documents(f"editor/runs/{flow_run}"):
        if name.rpartition("/")[2].startswith("lessons-"):
            lessons = store.get_document(name, Lessons)
            found = get_triplets(store, lessons.collected).triplets if lessons is not None else found
    return found
