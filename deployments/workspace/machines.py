"""The machines of a cluster, as each writes itself into the common store: what it does, what it runs, and how its clock goes."""

import importlib.metadata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from deployments.prefect.api import PrefectApi
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.given_settings import CPU
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.slots import slots_named, slots_offered
from flenwheel_core.library.machines import MachineCard, WorkerCard, keep_card
from flenwheel_core.store import Store

ALIVE = timedelta(minutes=30)
"""A card that was written this lately is of a machine that counts."""
WRITE_SECONDS = 300.0
COMPARED = ("flenwheel", "prefect", "prefect-redis", "torch", "diffusers", "transformers", "peft", "safetensors")


def versions_here() -> dict[str, str]:
    """Versions of what must be the same on all machines, as far as it is installed."""
    found = {}
    for name in COMPARED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_card(settings: Settings, api: PrefectApi, roles: tuple[str, ...], workers: Mapping[str, Settings]) -> None:
    """Says that this machine is there; `workers`: the settings of each, by name. Raises what the store raises."""
    card = MachineCard(
        name=settings.machine_name,
        roles=roles,
        slots=tuple(slot.name for one in workers.values() for slot in slots_named(one)),
        workers=tuple(
            WorkerCard(name=name, slots=slots_offered(one), on_processors=one.gpu == CPU)
            for name, one in workers.items()
        ),
        pool=settings.pool if workers else None,
        versions=versions_here(),
        clock_ahead_seconds=clock_ahead(api),
        at=datetime.now(UTC),
    )
    keep_card(Store(settings.store_url, settings.store_options), card)


def clock_ahead(api: PrefectApi) -> float | None:
    """Seconds by which this machine's clock is ahead of the server's, to the second; None if the server does not answer."""
    try:
        before = datetime.now(UTC)
        there = api.clock()
        now = before + (datetime.now(UTC) - before) / 2
    except (FlenwheelError, KeyError, ValueError):
        return None
    return round((now - there).total_seconds() - 0.5, 1)  # its answer names whole seconds, cut off
