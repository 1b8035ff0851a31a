"""What the program takes for granted of Prefect's inside, seen with 3.8.8: files that are no public interface, and an app that is wrapped.

If one of these fails after an update of Prefect, `leases.py`, `server.py` or `database.py` of `deployments/prefect/` must follow.
"""

import asyncio
import inspect
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from uuid import uuid4

import prefect
import pytest
from fastapi.routing import APIWebSocketRoute
from packaging.version import Version

from deployments.prefect.api import PrefectApi
from deployments.prefect.leases import held_leases
from flenwheel_core.base.settings import Settings

pytestmark = pytest.mark.slow


def test_this_is_a_release_that_the_program_was_tried_with() -> None:
    assert Version("3.8.8") <= Version(prefect.__version__) < Version("3.10")


def test_leases_of_the_servers_file_storage_are_read(settings: Settings) -> None:
    from prefect.server.concurrency.lease_storage import ConcurrencyLeaseHolder, ConcurrencyLimitLeaseMetadata
    from prefect.server.concurrency.lease_storage.filesystem import ConcurrencyLeaseStorage

    limit, run = uuid4(), uuid4()
    storage = ConcurrencyLeaseStorage(settings.root / "prefect" / "concurrency_leases")
    metadata = ConcurrencyLimitLeaseMetadata(slots=1, holder=ConcurrencyLeaseHolder(type="flow_run", id=run))
    lease = asyncio.run(storage.create_lease([limit], timedelta(seconds=60), metadata))
    api = SimpleNamespace(limits=lambda: [SimpleNamespace(id=str(limit), name=f"gpu:{settings.slot_name}")])
    (found,) = held_leases(settings, cast(PrefectApi, api))
    assert (found.id, found.flow_run) == (str(lease.id), str(run))


def test_the_lease_storage_that_the_workspace_names_is_a_module_of_prefect() -> None:
    from importlib import import_module

    from deployments.workspace.environment import prefect_environment

    name = prefect_environment(Settings(workspace=Path("w"), gpu="cpu"), 1)["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]
    assert hasattr(import_module(name), "ConcurrencyLeaseStorage")


def test_waiting_gates_are_seldom_looked_through_for_ones_that_waited_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import Settings as PrefectSettings

    from deployments.workspace.environment import prefect_environment

    for name, value in prefect_environment(Settings(workspace=Path("w"), gpu="cpu"), 1).items():
        monkeypatch.setenv(name, value)
    assert PrefectSettings().server.services.pause_expirations.loop_seconds >= 300


def test_the_servers_app_takes_and_says_what_the_wrapper_needs() -> None:
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    assert "final" in inspect.signature(create_app).parameters
    api = get_current_settings().server.api
    assert (
        api.keepalive_timeout > 0 and hasattr(api, "websocket_ping_interval") and hasattr(api, "websocket_ping_timeout")
    )


def test_the_requests_that_take_the_write_lock_first_are_ones_that_prefect_answers() -> None:
    from prefect.server.api.server import create_api_app
    from prefect.server.api.workers import router

    from deployments.prefect.database import CHANNEL, SURE_WRITERS

    answered = [
        (method.upper(), f"/api{path}") for path, by in create_api_app().openapi()["paths"].items() for method in by
    ]
    answered += [(CHANNEL, f"/api{route.path}") for route in router.routes if isinstance(route, APIWebSocketRoute)]
    for wanted, pattern in SURE_WRITERS:
        assert any(method == wanted and pattern.fullmatch(path) for method, path in answered), pattern.pattern
