"""What edits cost so far: one line for each that was sent, kept by the workspace, so that no run forgets what another spent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path

from flenwheel_core.base.errors import CorruptManifestError, ResourceError
from flenwheel_core.base.ids import digest_json
from flenwheel_core.base.locks import locked
from flenwheel_core.models.edit_address.address import EditAddress


class Ledger:
    """Counts before anything is sent: what is not known to be free counts as paid."""

    def __init__(self, folder: Path, address: EditAddress, most: Decimal) -> None:
        """`most` is what all edits by this address may cost."""
        self._address, self._most = address, most
        self._path = folder / f"{digest_json({'url': address.url, 'model': address.model})[:16]}.txt"

    @property
    def spent(self) -> Decimal:
        """The sum of all lines; an edit that was refused has one that takes it back. Raises CorruptManifestError for what is no sum."""
        try:
            lines = self._path.read_text().split()
        except FileNotFoundError:
            return Decimal(0)
        try:
            found = sum((Decimal(line) for line in lines), Decimal(0))
        except InvalidOperation:
            found = Decimal("nan")
        if not found.is_finite():
            raise CorruptManifestError(
                f"{self._path} does not say what edits cost so far.",
                why="a line of it is no number.",
                remedy="Look at it: one line an edit, each with its price. Correct or remove what is none.",
            )
        return found

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
        with self._locked():
            if self._address.price > self.left:
                raise self._too_much(f"one more edit costs {self._address.price} {self._address.currency}")
            self._add(self._address.price)
        try:
            yield
        except NotChargedError:
            with self._locked():
                self._add(-self._address.price)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self._path.with_suffix(".lock")):
            yield

    def _add(self, amount: Decimal) -> None:
        with self._path.open("a") as file:
            file.write(f"{amount}\n")
            file.flush()
            os.fsync(file.fileno())

    def _too_much(self, what: str) -> ResourceError:
        limit = f"{self._most} {self._address.currency}"
        return ResourceError(
            f"{what} of the {limit} that {self._address.host} may cost.",
            why=f"{self.spent} {self._address.currency} were spent there so far by this workspace.",
            remedy="Raise the setting edit_budget (FLENWHEEL_EDIT_BUDGET), or ask for fewer edits in the recipe's [enrich].",
        )


class NotChargedError(Exception):
    """The address said no before it did any work."""
