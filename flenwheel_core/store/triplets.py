"""Sets of triplets in the store, named by the digest of their content."""

from collections.abc import Iterable

from flenwheel_core.documents.triplets import Triplet, TripletSet
from flenwheel_core.store import Journal, Store


def imported_triplets(store: Store) -> Journal[Triplet]:
    """Triplets that people brought from elsewhere."""
    return store.journal("triplets/imported", Triplet)


def put_triplets(store: Store, triplets: Iterable[Triplet]) -> str:
    """Keeps a versioned set and returns its digest."""
    return store.put_blob(TripletSet(triplets=tuple(triplets)).to_bytes())


def get_triplets(store: Store, digest: str) -> TripletSet:
    """The set of a digest."""
    return TripletSet.from_bytes(store.get_blob(digest), where=f"The triplets {digest[:12]}")
