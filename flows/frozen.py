"""Documents that a run writes down once and reads back at every replay."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from flenwheel_core.base.document import Document
from flenwheel_core.gates.session import Reviews
from flenwheel_core.recipes.model import Recipe
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


@dataclass(frozen=True)
class SharedTurn:
    """A turn of what all characters share, the editor or the critic. It belongs to its flow run, also after a retry."""

    learner: ClassVar[str]
    """What learns: names the turns, and the folder of what their runs wrote down."""

    store: Store
    recipe: Recipe
    character: str | None
    flow_run: str
    number: int

    @property
    def name(self) -> str:
        """Such as editor-turn-3: names the LoRA, the gate and the task runs. No turn of a character has such a name."""
        return f"{self.learner}-turn-{self.number}"

    @property
    def reviews(self) -> Reviews:
        return Reviews(self.store)

    def frozen(self, step: str, kind: type[Kind], build: Callable[[], Kind]) -> Kind:
        """The document of a step: what was written down at the first call, whatever `build` would give now."""
        return frozen_document(self.store, f"{self.learner}/runs/{self.flow_run}/{step}", kind, build)
