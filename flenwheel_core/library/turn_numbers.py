"""Numbers of turns: each belongs to the run that claimed it, also after a retry, and no two runs ever get the same one.

Names of gates, LoRAs and pages are made from these numbers, never cut from a run's id: ids are time-ordered, their beginnings repeat.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.store import Store


class TurnOpened(Document):
    """A turn of a flywheel: its number belongs to the flow run that opened it, also after a retry."""

    at: AwareDatetime
    number: int = Field(ge=1)
    flow_run: str
    recipe: Digest = Field(description="digest of the recipe snapshot, a blob")


Look = Callable[[tuple[TurnOpened, ...]], None]
"""Looks at the turns before a number is claimed, and raises if there must be no further one."""


def opened_turns(store: Store, folder: str) -> tuple[TurnOpened, ...]:
    """All turns whose numbers were claimed in a folder of documents, in order."""
    found = (store.get_document(name, TurnOpened) for name in store.list_documents(folder))
    return tuple(turn for turn in found if turn is not None)


def claim_number(store: Store, folder: str, flow_run: str, recipe: Digest, look: Look | None = None) -> TurnOpened:
    """The turn of this flow run: the one it claimed before, or the next number. Raises what `look` raises, and claims nothing then.

    Whoever claims a number has looked at every turn before it, so of two runs that begin at once one sees the other.
    """
    while True:
        turns = opened_turns(store, folder)
        standing = next((turn for turn in turns if turn.flow_run == flow_run), None)
        if standing is not None:
            return standing
        if look is not None:
            look(turns)
        number = turns[-1].number + 1 if turns else 1
        opened = TurnOpened(at=datetime.now(UTC), number=number, flow_run=flow_run, recipe=recipe)
        # Only one run can create the document of a number; who comes second looks again.
        if store.put_document(f"{folder}/{number:05d}", opened):
            return opened
