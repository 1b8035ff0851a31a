"""Documents that a run writes down once and reads back at every replay."""

from collections.abc import Callable
from typing import TypeVar

from flenwheel_core.base.document import Document
from flenwheel_core.store import Store

Kind = TypeVar("Kind", bound=Document)


def frozen_document(store: Store, place: str, kind: type[Kind], build: Callable[[], Kind]) -> Kind:
    """What was written down at `place` by the first call, whatever `build` would give now."""
    found = store.get_document(place, kind)
    if found is None:
        store.put_document(place, build())
        found = store.get_document(place, kind)
    assert found is not None
    return found
