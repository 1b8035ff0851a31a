"""What edits cost so far: a journal in the store, one line for each edit that was sent. All machines of the store count together."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

from pydantic import AwareDatetime

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.ids import digest_json
from flenwheel_core.models.edit_address.address import EditAddress
from flenwheel_core.store import Journal, Store


class Spending(Document):
    """What one edit cost."""

    at: AwareDatetime
    host: str
    """The machine that asked for it."""
    amount: Decimal
    """Below zero where an edit turned out to be free: it takes back what was counted before."""


class Ledger:
    """Counts before anything is sent: what is not known to be free counts as paid.

    There is no lock between machines. An edit is written down first and the sum is looked at then, so that two who ask at the same moment
    never spend more than is allowed together; where only one of their edits fitted, both may be refused.
    """

    def __init__(self, store: Store, address: EditAddress, most: Decimal) -> None:
        """`most` is what all edits by this address may cost."""
        self._address, self._most = address, most
        name = digest_json({"url": address.url, "model": address.model})[:16]
        self._journal: Journal[Spending] = store.journal(f"edit-addresses/{name}", Spending)
        self._sum, self._read = Decimal(0), 0

    @property
    def spent(self) -> Decimal:
        """The sum of all lines. Raises CorruptManifestError for a journal that cannot be read: then nothing more is sent."""
        lines, self._read = self._journal.read_after(self._read)
        self._sum += sum((line.amount for line in lines), Decimal(0))
        return self._sum

    @property
    def left(self) -> Decimal:
        return max(Decimal(0), self._most - self.spent)

    def require(self, edits: int) -> None:
        """Raises ResourceError if so many edits cost more than is left."""
        cost, left = edits * self._address.price, self.left
        if cost > left:
            raise self._too_much(f"{edits} edits cost {cost} {self._address.currency}, and {left} are left")

    @contextmanager
    def paying(self) -> Iterator[None]:
        """For one edit that is sent: counted first, and taken back if NotChargedError comes out.

        Raises ResourceError if it costs more than is left.
        """
        price = self._address.price
        if price > self.left:
            raise self._too_much(f"one more edit costs {price} {self._address.currency}")
        self._add(price)
        if self.spent > self._most:  # somebody else asked at the same moment
            self._add(-price)
            raise self._too_much(f"one more edit costs {price} {self._address.currency}")
        try:
            yield
        except NotChargedError:
            self._add(-price)
            raise

    def _add(self, amount: Decimal) -> None:
        self._journal.append(Spending(at=datetime.now(UTC), host=socket.gethostname(), amount=amount))

    def _too_much(self, what: str) -> ResourceError:
        limit = f"{self._most} {self._address.currency}"
        return ResourceError(
            f"{what} of the {limit} that {self._address.host} may cost.",
            why=f"{self.spent} {self._address.currency} were spent there so far by all machines of this store.",
            remedy="Raise the setting edit_budget (FLENWHEEL_EDIT_BUDGET), or ask for fewer edits in the recipe's [enrich].",
        )


class NotChargedError(Exception):
    """The address said no before it did any work."""
