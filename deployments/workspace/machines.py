"""The machines of a cluster, as each writes itself into the common store: what it does, what it runs, and how its clock goes."""

import importlib.metadata
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime

from deployments.prefect.api import PrefectApi
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.settings import Settings
from flenwheel_core.store import Store

FOLDER = "machines"
ALIVE = timedelta(minutes=30)
"""A card that was written this lately is of a machine that counts."""
WRITE_SECONDS = 300.0
COMPARED = ("flenwheel", "prefect", "prefect-redis", "torch", "diffusers", "transformers", "peft", "safetensors")


class MachineCard(Document):
    """One machine, at one moment."""

    name: str
    roles: tuple[str, ...]
    slots: tuple[str, ...] = ()
    """The GPU slots of its workers."""
    pool: str | None = None
    versions: dict[str, str]
    clock_ahead_seconds: float | None = None
    """How far its clock is ahead of the server's; None if the server did not answer."""
    at: AwareDatetime


def versions_here() -> dict[str, str]:
    """Versions of what must be the same on all machines, as far as it is installed."""
    found = {}
    for name in COMPARED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_card(
    settings: Settings, api: PrefectApi, roles: tuple[str, ...], slots: tuple[str, ...], pool: str | None
) -> None:
    """Says that this machine is there. Raises what the store raises."""
    card = MachineCard(
        name=settings.machine_name,
        roles=roles,
        slots=slots,
        pool=pool,
        versions=versions_here(),
        clock_ahead_seconds=clock_ahead(api),
        at=datetime.now(UTC),
    )
    Store(settings.store_url, settings.store_options).files.write(f"{FOLDER}/{card.name}.json", card.to_bytes())


def read_cards(store: Store) -> list[MachineCard]:
    """All machines that ever wrote themselves down."""
    return [
        MachineCard.from_bytes(store.files.read(path), where=store.files.address(path))
        for path in store.files.list(FOLDER)
    ]


def clock_ahead(api: PrefectApi) -> float | None:
    """Seconds by which this machine's clock is ahead of the server's, to the second; None if the server does not answer."""
    try:
        before = datetime.now(UTC)
        there = api.clock()
        now = before + (datetime.now(UTC) - before) / 2
    except (FlenwheelError, KeyError, ValueError):
        return None
    return round((now - there).total_seconds() - 0.5, 1)  # its answer names whole seconds, cut off
