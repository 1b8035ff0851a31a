"""What is wrong with a cluster, seen from one of its machines."""

import uuid
from collections import defaultdict
from datetime import UTC, datetime
from typing import cast
from urllib.parse import urlsplit

from deployments.prefect.api import PrefectApi, open_api
from deployments.workspace import cluster_parts
from deployments.workspace.finding import Finding
from deployments.workspace.joining import put_right
from deployments.workspace.machines import ALIVE, clock_ahead, versions_here
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.services import load_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.machines import MachineCard, read_cards
from flenwheel_core.runner.meeting import interface_to, own_address
from flenwheel_core.store import Store

MOST_SKEW_SECONDS = 2.0
PROBE = "machines/.tmp-probe"
PARTS = {
    "lease storage": ("concurrency", "lease_storage"),
    "order of events": ("events", "causal_ordering"),
    "message broker": ("events", "messaging_broker"),
    "message cache": ("events", "messaging_cache"),
    "cleanup queue": ("worker_channel", "cleanup_queue_storage"),
    "docket": ("docket", "url"),
}
"""Where the server says what it uses. Each of them is in one process's memory, or one machine's files, unless it is set."""


def is_of_cluster(settings: Settings) -> bool:
    """True on a machine whose settings speak of a cluster, or which works in one just now."""
    services = load_services(settings)
    named = any((settings.server_url, settings.database_url, settings.redis_url))
    return named or (services is not None and services.of_cluster)


def examine_cluster(settings: Settings) -> list[Finding]:
    """Everything that was looked at."""
    found = [*_parts_reached(settings)]
    store = Store(settings.store_url, settings.store_options)
    found += _store(settings, store)
    if settings.server_url is not None or load_services(settings) is not None:
        found += _server(settings, open_api(settings, patience_seconds=3))
    else:
        found.append(Finding(False, "FLENWHEEL_SERVER_URL is not set: this machine does not know the server"))
    if settings.server_url is not None:
        found.append(_meeting(settings))
    return [*found, *_machines(store)]


def _parts_reached(settings: Settings) -> list[Finding]:
    found = []
    asks = {
        "Postgres": (settings.database_url, cluster_parts.reach_database),
        "Redis": (settings.redis_url, cluster_parts.reach_redis),
    }
    for name, (address, reach) in asks.items():
        if address is None:
            continue
        try:
            part = reach(settings)
        except FlenwheelError as error:
            found.append(Finding(False, error.message))
            continue
        ahead = (datetime.now(UTC) - part.clock).total_seconds()
        found.append(Finding(True, f"{name} {part.version} answers"))
        found.append(_clock(f"this machine's clock and that of {name}", ahead))
    return found


def _meeting(settings: Settings) -> Finding:
    """Where others would come to, if this machine led a training over several."""
    try:
        address = own_address(settings)
    except FlenwheelError as error:
        return Finding(False, error.message)
    near = (
        " (only from this machine: set FLENWHEEL_MEETING_ADDRESS for train.hosts)"
        if interface_to(address) == "lo"
        else ""
    )
    return Finding(True, f"other machines of a training meet this one at {address}{near}")


def _clock(whose: str, ahead: float) -> Finding:
    return Finding(abs(ahead) <= MOST_SKEW_SECONDS, f"{whose} are {abs(ahead):.1f} s apart")


def _store(settings: Settings, store: Store) -> list[Finding]:
    """Whether two machines that write the same thing at once would find out: journals and decisions count on it."""
    if settings.store is None:
        return [Finding(False, "FLENWHEEL_STORE is not set: the store is this machine's own")]
    path = f"{PROBE}-{uuid.uuid4().hex}"
    try:
        first, second = store.files.create(path, b"1"), store.files.create(path, b"2", look_first=False)
        kept = store.files.read(path)
        store.files.delete(path)
    except (FlenwheelError, FileNotFoundError) as error:
        return [Finding(False, f"the store cannot be used: {error}")]
    safe = first and not second and kept == b"1"
    text = "refuses to write over what another machine wrote" if safe else "writes over what another machine wrote"
    return [Finding(safe, f"the store {text} (conditional writes): {settings.store_url}")]


def _server(settings: Settings, api: PrefectApi) -> list[Finding]:
    try:
        if not api.ready():
            return [Finding(False, f"no server answers at {api.url}, or its database does not")]
        version = cast(str, api.call("GET", "/admin/version"))
        said = cast("dict[str, dict[str, dict[str, str]]]", api.call("GET", "/admin/settings"))["server"]
        found = [Finding(True, f"Prefect server {version} answers at {api.url}")]
        found += [used_part(name, said.get(room, {}).get(key)) for name, (room, key) in PARTS.items()]
        found += [Finding(True, f"put right: {line}") for line in put_right(api, settings)]
    except FlenwheelError as error:
        return [Finding(False, error.message)]
    ahead = clock_ahead(api)
    return found if ahead is None else [*found, _clock("this machine's clock and the server's", ahead)]


def used_part(name: str, value: str | None) -> Finding:
    """What the server uses for one of its parts; what a second server would not see is an error."""
    value = value or "not named"
    shown = f"{urlsplit(value).scheme}://" if "://" in value else value
    shared = shown.startswith(("prefect_redis.", "redis://", "rediss://"))
    return Finding(shared, f"{name}: {shown}{'' if shared else ', which other servers do not see'}")


def _machines(store: Store) -> list[Finding]:
    try:
        cards = [card for card in read_cards(store) if datetime.now(UTC) - card.at < ALIVE]
    except FlenwheelError as error:
        return [Finding(False, error.message)]
    found = []
    for card in cards:
        slots = f"; {', '.join(card.slots)}" if card.slots else ""
        found.append(Finding(True, f"machine {card.name}: {', '.join(card.roles)}{slots}"))
        if card.clock_ahead_seconds is not None and abs(card.clock_ahead_seconds) > MOST_SKEW_SECONDS:
            found.append(_clock(f"the clocks of {card.name} and of the server", card.clock_ahead_seconds))
    return [*found, *differing_versions(cards)]


def differing_versions(cards: list[MachineCard]) -> list[Finding]:
    """Packages that are not the same on all machines, this one included: results may differ, or requests not be understood."""
    by_package: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, versions in [("here", versions_here()), *((card.name, card.versions) for card in cards)]:
        for package, version in versions.items():
            by_package[package][version].append(name)
    return [
        Finding(
            False,
            f"{package} differs: "
            + "; ".join(f"{version} on {', '.join(names)}" for version, names in sorted(versions.items())),
        )
        for package, versions in sorted(by_package.items())
        if len(versions) > 1
    ] or [Finding(True, f"the same versions on {len(cards)} machines")]
