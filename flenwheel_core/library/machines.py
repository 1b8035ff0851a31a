"""The machines of a cluster, as each writes itself into the common store."""

from pydantic import AwareDatetime

from flenwheel_core.base.document import Document
from flenwheel_core.store import Store

FOLDER = "machines"


class WorkerCard(Document):
    """One worker of a machine."""

    name: str
    slots: tuple[str, ...]
    """GPU slots of the cards that it may use, its own first, in the order in which it takes them for work on several."""
    on_processors: bool = False
    """Its slot serves any number of processes."""

    def slots_for(self, cards: int) -> tuple[str, ...]:
        """The slots that work on so many cards takes; none if there are not enough."""
        if self.on_processors:
            return self.slots[:1]
        return self.slots[:cards] if len(self.slots) >= cards else ()


class MachineCard(Document):
    """One machine, at one moment."""

    name: str
    roles: tuple[str, ...]
    slots: tuple[str, ...] = ()
    """The GPU slots of its workers."""
    workers: tuple[WorkerCard, ...] = ()
    pool: str | None = None
    versions: dict[str, str]
    clock_ahead_seconds: float | None = None
    """How far its clock is ahead of the server's; None if the server did not answer."""
    at: AwareDatetime


def keep_card(store: Store, card: MachineCard) -> None:
    """In place of the machine's last one."""
    store.files.write(f"{FOLDER}/{card.name}.json", card.to_bytes())


def read_cards(store: Store) -> list[MachineCard]:
    """All machines that ever wrote themselves down."""
    return [
        MachineCard.from_bytes(store.files.read(path), where=store.files.address(path))
        for path in store.files.list(FOLDER)
    ]
