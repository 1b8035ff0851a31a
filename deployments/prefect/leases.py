"""Leases of the GPU slot: who holds one, and whether the holder still lives.

A lease whose holder was killed expires by itself within about a minute; the reconciler gives it back as soon as it sees it.
"""

import json
from dataclasses import dataclass

from deployments.prefect.api import PrefectApi
from flenwheel_core.base.settings import Settings


@dataclass(frozen=True)
class Lease:
    """A held slot."""

    id: str
    limit: str
    flow_run: str


def held_leases(settings: Settings, api: PrefectApi) -> list[Lease]:
    """Leases of this machine's slot, read from the server's own files; none if the server keeps them elsewhere."""
    folder = settings.root / "prefect" / "concurrency_leases"
    names = {limit.id: limit.name for limit in api.limits() if limit.name == settings.slot_limit}
    found = []
    for path in sorted(folder.glob("*-*-*-*-*.json")):
        try:
            content = json.loads(path.read_bytes())
            holder = content["metadata"]["holder"]
            limits = [names[id_] for id_ in content["resource_ids"] if id_ in names]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if limits and holder["type"] == "flow_run":
            found.append(Lease(id=path.stem, limit=limits[0], flow_run=holder["id"]))
    return found


def release(api: PrefectApi, lease: Lease) -> None:
    """Gives a lease back, as its holder would have done."""
    api.call("POST", "/v2/concurrency_limits/decrement-with-lease", {"lease_id": lease.id})
