"""The orders of a store. Each is accepted once and ended once, whoever asks how often and whatever is killed meanwhile."""

from datetime import UTC, datetime

from flenwheel_core.base.errors import BusyError, InputError, NotFoundError
from flenwheel_core.documents.orders import OrderAccepted, OrderEnded, OrderFailed, OrderHanded, TrainOrder
from flenwheel_core.store import Store

FOLDER = "orders"
MOST_OPEN = 1000
"""Orders that are neither ended nor failed, at once."""
MOST_STARTS = 20
"""How often an order's run that crashed is begun again by itself; then the order has failed."""


class Orders:
    """Reads and writes orders. On disk before a call returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def accept(self, order: TrainOrder) -> bool:
        """Takes an order; False if it is there already. Raises InputError if another one has its id, BusyError if too many are open."""
        standing = self._accepted(order.id)
        if standing is None:
            if len(self.open_orders()) >= MOST_OPEN:
                raise BusyError(f"{MOST_OPEN} orders are open.", remedy="Send it again when some are done.")
            line = OrderAccepted(at=datetime.now(UTC), order=order)
            if self._store.put_document(_place(order.id, "order"), line):
                return True
            standing = self._accepted(order.id)
        if standing is None or standing.order != order:
            raise InputError(
                "Another order was sent with this idempotency key.",
                why="a key stands for one order, however often that is sent.",
                remedy="Send this one with a key of its own.",
            )
        return False

    def get(self, id_: str) -> OrderAccepted:
        """An order; raises NotFoundError."""
        found = self._accepted(id_)
        if found is None:
            raise NotFoundError(f"There is no order {id_[:80]!r}.")
        return found

    def handed(self, id_: str) -> OrderHanded | None:
        """The run that carries it out; None while it waits to be handed over."""
        return self._store.get_document(_place(id_, "run"), OrderHanded)

    def hand(self, id_: str, flow_run: str) -> None:
        """Writes down which run carries it out; the first word stands."""
        self._store.put_document(_place(id_, "run"), OrderHanded(flow_run=flow_run))

    def ended(self, id_: str) -> OrderEnded | None:
        """How it ended; None while it did not."""
        return self._store.get_document(_place(id_, "ended"), OrderEnded)

    def end(self, id_: str, ended: OrderEnded) -> OrderEnded:
        """Ends it; returns how it ended, which is what was said first."""
        self._store.put_document(_place(id_, "ended"), ended)
        found = self.ended(id_)
        assert found is not None
        return found

    def fail(self, id_: str, message: str) -> None:
        """Writes down that its run failed, which frees its place among the open ones."""
        self._store.put_document(_place(id_, "failed"), OrderFailed(message=message))

    def failed(self, id_: str) -> OrderFailed | None:
        """Why it failed; None if it did not, or was begun again."""
        return self._store.get_document(_place(id_, "failed"), OrderFailed)

    def begin(self, id_: str) -> None:
        """Its run begins, maybe again: it has not failed."""
        self._store.delete_document(_place(id_, "failed"))

    def open_orders(self) -> dict[str, bool]:
        """Ids of the orders that neither ended nor failed, sorted, and whether a run carries them out."""
        names = set(self._store.list_documents(FOLDER))
        ids = sorted(name.split("/")[1] for name in names if name.endswith("/order"))
        return {
            id_: _place(id_, "run") in names
            for id_ in ids
            if _place(id_, "ended") not in names and _place(id_, "failed") not in names
        }

    def _accepted(self, id_: str) -> OrderAccepted | None:
        if not id_.isalnum():
            return None
        return self._store.get_document(_place(id_, "order"), OrderAccepted)


def _place(id_: str, what: str) -> str:
    return f"{FOLDER}/{id_}/{what}"
