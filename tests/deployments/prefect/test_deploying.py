"""What a person set in the Prefect interface outlives `flenwheel up`; the program's own changes arrive beside it."""

import os
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import yaml

from benchmarks.kit.workspace import Running
from deployments.prefect.api import PATIENCE_SECONDS
from deployments.prefect.deploying import (
    ProgramDeployment,
    ProgramSchedule,
    ScheduleChanges,
    StandingDeployment,
    StandingSchedule,
    apply,
    deployment_changes,
    merged_values,
    schedule_changes,
)
from deployments.prefect.project import PROJECT
from deployments.workspace.environment import deploy_command, service_environment
from flenwheel_core.base.ids import Json

NIGHTLY = ProgramSchedule(slug="nightly", cron="0 1 * * *", timezone="UTC", active=False)


def program(**changes: object) -> ProgramDeployment:
    facts: dict[str, object] = {
        "flow": "flywheel-1",
        "name": "turn",
        "entrypoint": "flows/flywheel1.py:flywheel1",
        "description": "One turn.",
        "tags": ("flywheel-1",),
        "parameters": {"character": ""},
        "schedules": (NIGHTLY,),
        "work_pool": "flenwheel",
        "work_queue": "default",
        "job_variables": {"command": "run"},
        "pull_steps": (),
        "parameter_form": {"properties": {"character": {}, "recipe": {}, "beside": {}}},
    }
    return ProgramDeployment.model_validate({**facts, **changes})


def standing(of: ProgramDeployment, **changes: object) -> StandingDeployment:
    facts: dict[str, object] = {
        "id": "1",
        "entrypoint": of.entrypoint,
        "description": of.description,
        "tags": of.tags,
        "parameters": of.parameters,
        "schedules": [schedule(one) for one in of.schedules],
        "work_pool_name": of.work_pool,
        "work_queue_name": of.work_queue,
        "job_variables": of.job_variables,
        "pull_steps": list(of.pull_steps),
        "parameter_openapi_schema": of.parameter_form,
    }
    return StandingDeployment.model_validate({**facts, **changes})


def schedule(of: ProgramSchedule, **changes: object) -> StandingSchedule:
    facts = {"id": of.slug, "slug": of.slug, "active": of.active, "schedule": {**of.times, "day_or": True}}
    return StandingSchedule.model_validate({**facts, "parameters": of.parameters, **changes})


def test_nothing_changes_where_nothing_changed() -> None:
    assert deployment_changes(program(), program(), standing(program())) == {}
    assert schedule_changes(program(), program(), standing(program())) == ScheduleChanges()


def test_a_persons_values_stay_and_the_programs_new_ones_arrive() -> None:
    before, now = {"character": "", "rounds": 1, "old": 1}, {"character": "x", "rounds": 2, "fresh": True}
    assert merged_values(before, now, {"character": "mira", "rounds": 1, "own": 5, "old": 1}) == {
        "character": "mira",
        "own": 5,
        "rounds": 2,
        "fresh": True,
    }
    assert merged_values(before, before, {"character": "mira"}) == {"character": "mira"}, "removed by a person"


def test_a_parameter_that_the_flow_lost_does_not_stay() -> None:
    now = program(parameter_form={"properties": {"character": {}}})
    theirs = standing(program(), parameters={"character": "mira", "recipe": "nano"})
    assert deployment_changes(now, program(), theirs)["parameters"] == {"character": "mira"}


def test_tags_and_description_of_a_person_stay() -> None:
    theirs = standing(program(), tags=["flywheel-1", "studio"], description="Mira's nights")
    now = program(tags=("flywheel-1", "fresh"), description="Another text.")
    assert deployment_changes(now, program(), theirs) == {"tags": ["flywheel-1", "fresh", "studio"]}
    untouched = deployment_changes(now, program(), standing(program()))
    assert untouched == {"tags": ["flywheel-1", "fresh"], "description": "Another text."}
    assert deployment_changes(program(), program(), standing(program(), tags=[])) == {}, "taken away by a person"


def test_the_way_to_start_is_the_programs_and_a_persons_variables_stay() -> None:
    theirs = standing(program(), job_variables={"command": "mine", "env": {"A": "1"}}, entrypoint="old.py:old")
    assert deployment_changes(program(), None, theirs) == {
        "entrypoint": program().entrypoint,
        "job_variables": {"command": "run", "env": {"A": "1"}},
    }


def test_schedules_merge_field_by_field() -> None:
    later = NIGHTLY.model_copy(update={"cron": "0 3 * * *"})
    switched_on = standing(program(), schedules=[schedule(NIGHTLY, active=True, parameters={"character": "mira"})])
    assert schedule_changes(program(schedules=(later,)), program(), switched_on).patched == {
        "nightly": {"schedule": later.times, "active": True, "parameters": {"character": "mira"}}
    }
    moved = standing(program(), schedules=[schedule(NIGHTLY, schedule={"cron": "5 5 * * *", "timezone": "UTC"})])
    assert schedule_changes(program(schedules=(later,)), program(), moved) == ScheduleChanges()


def test_removed_schedules_stay_away_and_new_ones_of_the_program_come() -> None:
    weekly = ProgramSchedule(slug="weekly", cron="0 1 * * 0", timezone="UTC", active=False)
    none = standing(program(), schedules=[])
    assert schedule_changes(program(schedules=(NIGHTLY, weekly)), program(), none) == ScheduleChanges(added=(weekly,))
    given_up = program(schedules=())
    assert schedule_changes(given_up, program(), standing(program())).removed == ("nightly",)
    used = standing(program(), schedules=[schedule(NIGHTLY, active=True)])
    assert schedule_changes(given_up, program(), used) == ScheduleChanges(), "a person switched it on"


def test_what_an_older_version_made_is_all_a_persons() -> None:
    old = standing(program(), schedules=[schedule(NIGHTLY, slug=None, active=True)])
    assert schedule_changes(program(), None, old) == ScheduleChanges()
    later = program(schedules=(NIGHTLY.model_copy(update={"cron": "0 3 * * *"}),))
    assert list(schedule_changes(later, program(), old).patched) == ["nightly"]


@pytest.mark.slow
def test_values_that_do_not_fit_the_new_form_are_said_to_be_gone(running: Running) -> None:
    def form(kind: str) -> dict[str, object]:
        return {"type": "object", "properties": {"rounds": {"type": kind, "title": "rounds"}}}

    words = program(name="typed", parameters={"rounds": "one"}, parameter_form=form("string"))
    assert apply(running.api, words, None).endswith("made")
    place = "/deployments/name/flywheel-1/typed"
    call(running, "PATCH", f"/deployments/{call(running, 'GET', place)['id']}", {"parameters": {"rounds": "two"}})
    numbers = program(name="typed", parameters={"rounds": 1}, parameter_form=form("integer"))
    assert "do not fit any more" in apply(running.api, numbers, words)
    assert call(running, "GET", place)["parameters"] == {"rounds": 1}


def call(running: Running, method: str, path: str, body: object = None) -> dict[str, Any]:
    return cast("dict[str, Any]", running.api.call(method, path, cast(Json, body)))


def deploy(running: Running, file: Path = PROJECT / "prefect.yaml") -> dict[str, str]:
    """The deploying step of `flenwheel up`; what became of each deployment."""
    variables = service_environment(running.settings, urlsplit(running.api.url).port or 0)
    done = subprocess.run(deploy_command(file), env=variables, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def altered(running: Running, change: Callable[[dict[str, Any]], None]) -> Path:
    content = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    change(content)
    path = running.settings.root / "altered.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.slow
def test_up_keeps_what_people_set_in_the_prefect_interface(running: Running) -> None:
    turn, editor = "/deployments/name/flywheel-1/turn", "/deployments/name/flywheel-2/when-lessons-wait"
    id_ = call(running, "GET", turn)["id"]
    own = call(running, "GET", turn)["schedules"][0]["id"]
    weekly = {"schedule": {"cron": "0 4 * * 0", "timezone": "Europe/Berlin"}, "active": True, "parameters": {}}
    call(running, "PATCH", f"/deployments/{id_}/schedules/{own}", {"active": True, "parameters": {"recipe": "nano"}})
    call(running, "POST", f"/deployments/{id_}/schedules", [weekly])
    call(running, "PATCH", f"/deployments/{id_}", {"parameters": {"character": "mira"}, "tags": ["flywheel-1", "own"]})
    call(running, "POST", f"/deployments/{id_}/pause_deployment")
    other = call(running, "GET", editor)
    call(running, "DELETE", f"/deployments/{other['id']}/schedules/{other['schedules'][0]['id']}")

    volatile = {"updated", "updated_by", "last_polled", "status"}
    before = [
        {key: value for key, value in call(running, "GET", path).items() if key not in volatile}
        for path in (turn, editor)
    ]
    try:
        said = deploy(running)
        after = [
            {key: value for key, value in call(running, "GET", path).items() if key not in volatile}
            for path in (turn, editor)
        ]
        assert after == before and set(said.values()) == {"as it was"}, said

        def change(content: dict[str, Any]) -> None:
            first = content["deployments"][0]
            first["parameters"]["recipe"] = "nano"
            first["tags"].append("new")
            first["schedules"][0]["cron"] = "0 2 * * *"
            last = next(one for one in reversed(content["deployments"]) if "flywheel2" in one["entrypoint"])
            content["deployments"].append({**last, "name": "another"})

        deploy(running, altered(running, change))
        found = call(running, "GET", turn)
        assert found["parameters"] == {"character": "mira", "recipe": "nano"} and found["paused"]
        assert sorted(found["tags"]) == ["flywheel-1", "new", "own"]
        nightly = next(one for one in found["schedules"] if one["slug"] == "nightly")
        assert nightly["active"] and nightly["parameters"] == {"recipe": "nano"}
        assert nightly["schedule"]["cron"] == "0 2 * * *" and len(found["schedules"]) == 2
        assert call(running, "GET", editor)["schedules"] == []
        assert call(running, "GET", "/deployments/name/flywheel-2/another")["schedules"][0]["active"] is False
    finally:
        call(running, "POST", f"/deployments/{id_}/resume_deployment")
        for one in call(running, "GET", turn)["schedules"]:
            call(running, "PATCH", f"/deployments/{id_}/schedules/{one['id']}", {"active": False})
        call(running, "PATCH", f"/deployments/{id_}", {"parameters": {"character": ""}})


@pytest.mark.slow
def test_a_server_that_answers_late_while_everything_starts_is_waited_for(tmp_path: Path) -> None:
    began: list[float] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            began.append(time.monotonic())
            self.send_response(503 if began[-1] < began[0] + PATIENCE_SECONDS + 2 else 418)
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the library's name

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    variables = {
        **os.environ,
        "PREFECT_API_URL": f"http://127.0.0.1:{server.server_port}",
        "FLENWHEEL_WORKSPACE": str(tmp_path),
        "PYTHONPATH": str(PROJECT),
    }
    done = subprocess.run(
        deploy_command(), env=variables, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=600
    )
    server.shutdown()
    thread.join()
    server.server_close()
    assert done.returncode == 1 and "answered 418" in done.stderr, done.stderr
