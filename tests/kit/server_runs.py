"""Runs on a real server, in the states that workers leave them in."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import cast

from benchmarks.kit.workspace import Running
from flenwheel_core.base.ids import Json


def run_in_state(
    running: Running, state: str, worker: str | None, more_parameters: Mapping[str, Json] | None = None
) -> str:
    """A run as a worker leaves it on the server: in a state, with that worker's name on it."""
    api = running.api
    deployment = cast("dict[str, str]", api.call("GET", "/deployments/name/training/training"))
    # Made in no queue, so that the worker of this workspace lets it alone.
    body: dict[str, Json] = {
        "name": "imitated",
        "flow_id": deployment["flow_id"],
        "deployment_id": deployment["id"],
        "parameters": {"character": "nobody", **(more_parameters or {})},
        "state": {"type": state, "name": state.capitalize()},
    }
    run = cast("dict[str, str]", api.call("POST", "/flow_runs/", body))["id"]
    if worker is not None:
        api.call("PATCH", f"/flow_runs/{run}/labels", {"prefect.worker.name": worker})
    return run


def scheduled_far_ahead(running: Running) -> str:
    """A run in the workspace's own pool, for a character that is not there; the worker does not take it of its own accord."""
    deployment = cast("dict[str, str]", running.api.call("GET", "/deployments/name/training/training"))["id"]
    later = {"scheduled_time": (datetime.now(UTC) + timedelta(days=365)).isoformat()}
    state: dict[str, Json] = {"type": "SCHEDULED", "name": "Scheduled", "state_details": later}
    body: dict[str, Json] = {"parameters": {"character": "nobody"}, "state": state}
    return cast("dict[str, str]", running.api.call("POST", f"/deployments/{deployment}/create_flow_run", body))["id"]


def state_of(running: Running, run: str) -> str:
    state = running.api.run(run).state
    assert state is not None
    return state.type
