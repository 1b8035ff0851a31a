"""An editor behind an address, as the stage `enrich` opens it: says what leaves this machine, counts what it costs, wears no LoRAs."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import InputError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.card_plan import CardRoom, StagePlan
from flenwheel_core.models.edit_address.address import EditAddress
from flenwheel_core.models.edit_address.client import EditClient
from flenwheel_core.models.edit_address.ledger import Ledger
from flenwheel_core.models.protocols import PLAIN_SETUP, EditJob, Made, ModelSetup
from flenwheel_core.models.references import hub_reference
from flenwheel_core.store import Store

if TYPE_CHECKING:
    from flenwheel_core.recipes.model import Recipe


@dataclass(frozen=True)
class SpentPhase:
    """What the edits of a run took and cost."""

    text: str

    def line(self) -> str:
        return self.text


class AddressEditor:
    """Sends sources, references and prompts to an address. The same job may come back as another picture."""

    def __init__(
        self, address: EditAddress, reference: str, ledger: Ledger, client: EditClient, setup: ModelSetup
    ) -> None:
        self._address, self._reference = address, reference
        self._ledger, self._client, self._setup = ledger, client, setup
        self._made = 0

    @property
    def model(self) -> str:
        """The reference of the folder; what stands behind the address may change without a word."""
        return self._reference

    @property
    def phases(self) -> Sequence[SpentPhase]:
        """How many edits were made, and what all edits by this address cost so far."""
        spent, left = self._ledger.spent, self._ledger.left
        currency = self._address.currency
        return (SpentPhase(f"{self._address.host}: {self._made} edits; {spent} {currency} spent so far, {left} left"),)

    def edit(self, jobs: Iterable[EditJob]) -> Iterator[Made]:
        """Yields each edit as it comes. Raises as EditClient.edit does, and before anything is sent if all of them would cost too much."""
        waiting = list(jobs)
        for job in waiting:
            if job.shift is not None:
                raise InputError(
                    "An editor behind an address has no noise levels to shift.",
                    remedy="Leave shift out of the recipe's [enrich].",
                )
        self._ledger.require(len(waiting))
        self._setup.note(leaving(self._address, len(waiting)))
        for job in waiting:
            image = self._client.edit(job)
            self._made += 1
            yield Made(job.key, image)

    def close(self) -> None:
        self._client.close()


def leaving(address: EditAddress, edits: int) -> str:
    """What leaves this machine, for the log and for plans."""
    cost = edits * address.price
    return (
        f"these leave this machine, to {address.host}: the source and references of {edits} edits as bare pixels, and their prompts; "
        f"{cost} {address.currency} if each is made at the first try"
    )


def open_editor(
    folder: Path, reference: str, settings: Settings, setup: ModelSetup = PLAIN_SETUP
) -> closing[AddressEditor]:
    """The editor that the folder names; folders of the Hub name none.

    Raises InputError for LoRAs and RecipeError for a storage: neither can be had over HTTP.
    """
    if hub_reference(reference) is not None:
        raise InputError(
            f"{reference} is an address that somebody else wrote down.",
            why="it would decide where your pictures and a key of yours go.",
            remedy="Write a folder of your own: docs/guide.md shows one.",
        )
    address = EditAddress.read(folder)
    if setup.loras:
        raise InputError(
            f"{address.host} wears no LoRAs of yours, and {len(setup.loras)} are asked for.",
            remedy="Leave loras out of the recipe's [enrich], or name an editor that runs here.",
        )
    if setup.storage is not None:
        raise RecipeError(f"{address.host} has no storage to choose.", remedy='Set storage = "auto" in [editor].')
    ledger = Ledger(Store(settings.store_url, settings.store_options), address, Decimal(str(settings.edit_budget)))
    client = EditClient(address, ledger, setup.note, setup.stop)
    return closing(AddressEditor(address, reference, ledger, client, setup))


def plans(folder: Path, recipe: "Recipe", use: str, card: CardRoom) -> list[StagePlan]:
    """No card is needed; what leaves this machine and what it costs is said instead."""
    return [StagePlan("enrich", leaving(EditAddress.read(folder), recipe.enrich.target_images), 0.0)]
