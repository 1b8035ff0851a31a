"""A schedule that a person switches on makes runs, on the real server: its insert goes through libraries that change under Prefect."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from benchmarks.kit.workspace import Running, wait_for
from flenwheel_core.base.ids import Json

pytestmark = pytest.mark.slow


def test_a_schedule_that_is_on_makes_runs(running: Running) -> None:
    deployment = cast("dict[str, str]", running.api.call("GET", "/deployments/name/training/training"))["id"]
    rule: Json = {"interval": 86_400, "anchor_date": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    body: Json = [{"schedule": rule, "active": True, "parameters": {"character": "nobody"}}]
    path = f"/deployments/{deployment}/schedules"
    (made,) = cast("list[dict[str, str]]", running.api.call("POST", path, body))

    def scheduled() -> bool:
        wanted: Json = {"flow_runs": {"deployment_id": {"any_": [deployment]}}, "limit": 50}
        found = cast("list[dict[str, Json]]", running.api.call("POST", "/flow_runs/filter", wanted))
        return any(run["auto_scheduled"] and run["parameters"] == {"character": "nobody"} for run in found)

    try:
        wait_for(scheduled, 120, lambda: (running.settings.root / "logs" / "server.log").read_text()[-3000:])
    finally:
        running.api.call("DELETE", f"{path}/{made['id']}")
