"""Brings the deployments of prefect.yaml to the server and leaves alone what a person set there.

By hand: `python -m deployments.prefect.deploying [FILE]`.

Three sides are compared: what the file says now, what it said when it was last applied (kept in the workspace), and what stands on the
server. Where the server still has what the file said then, the file's new word arrives; where it has something else, a person chose it.
Entry points, parameter forms and the way to start a run are always the program's.
"""

import os
import sys
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from deployments.prefect.api import STARTING_PATIENCE_SECONDS, PrefectApi
from deployments.prefect.project import DEPLOYMENTS
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import FlenwheelError, NotFoundError, ServerError
from flenwheel_core.base.ids import Json
from flenwheel_core.base.settings import Settings

Values = dict[str, JsonValue]

PULL: Values = {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $FLENWHEEL_PROJECT }}"}}
"""Each worker fills in where the program lies on its own machine."""
MADE = "made"
AS_IT_WAS = "as it was"


class ProgramSchedule(Document):
    """A schedule that comes with the program; its slug says which one it is, whatever becomes of it."""

    slug: str
    cron: str
    timezone: str
    active: bool
    parameters: Values = Field(default_factory=dict)

    @property
    def times(self) -> Values:
        return {"cron": self.cron, "timezone": self.timezone}


class ProgramDeployment(Document):
    """A deployment as the program wants it."""

    flow: str
    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    parameters: Values
    schedules: tuple[ProgramSchedule, ...]
    work_pool: str
    work_queue: str
    job_variables: Values
    pull_steps: tuple[Values, ...]
    parameter_form: Values


class Deployed(Document):
    """What was last applied."""

    deployments: tuple[ProgramDeployment, ...] = ()

    def of(self, wanted: ProgramDeployment) -> ProgramDeployment | None:
        return next((old for old in self.deployments if (old.flow, old.name) == (wanted.flow, wanted.name)), None)


class StandingSchedule(BaseModel):
    """A schedule on the server."""

    model_config = ConfigDict(extra="ignore")

    id: str
    slug: str | None = None
    active: bool
    schedule: Values
    parameters: Values = {}

    def is_of(self, program: ProgramSchedule) -> bool:
        """True for the program's schedule, also for one from the time before schedules had slugs."""
        return self.slug == program.slug or (self.slug is None and self.has_times_of(program))

    def has_times_of(self, program: ProgramSchedule) -> bool:
        return all(self.schedule.get(key) == value for key, value in program.times.items())

    def is_untouched(self, program: ProgramSchedule) -> bool:
        return (
            self.has_times_of(program) and self.active == program.active and self.parameters == dict(program.parameters)
        )


class StandingDeployment(BaseModel):
    """A deployment on the server."""

    model_config = ConfigDict(extra="ignore")

    id: str
    entrypoint: str | None = None
    description: str | None = None
    tags: list[str] = []
    parameters: Values = {}
    schedules: list[StandingSchedule] = []
    work_pool_name: str | None = None
    work_queue_name: str | None = None
    job_variables: Values = {}
    pull_steps: list[Values] | None = None
    parameter_openapi_schema: Values | None = None


def merged_values(before: Values, now: Values, standing: Values) -> Values:
    """The program's new values where the standing one is the program's, a person's elsewhere; what a person removed stays away."""
    kept = {key: value for key, value in standing.items() if key not in before or value != before[key]}
    theirs = {key: now[key] for key in standing if key not in kept and key in now}
    fresh = {key: value for key, value in now.items() if key not in standing and key not in before}
    return kept | theirs | fresh


def merged(before: JsonValue, now: JsonValue, standing: JsonValue) -> JsonValue:
    """One value, by the same rule."""
    return now if standing == before else standing


def deployment_changes(
    wanted: ProgramDeployment, before: ProgramDeployment | None, standing: StandingDeployment
) -> Values:
    """The fields that must change on the server. Without a record of what was applied, all that stands there is a person's."""
    old = before or wanted.model_copy(update={"parameters": {}, "job_variables": {}})
    known = cast("dict[str, JsonValue]", wanted.parameter_form.get("properties") or {})
    parameters = merged_values(old.parameters, wanted.parameters, standing.parameters)
    gone = {key: value for key, value in old.job_variables.items() if key not in wanted.job_variables}
    variables = {key: value for key, value in standing.job_variables.items() if gone.get(key) != value}
    said = (standing.description or "").strip()
    target: Values = {
        "entrypoint": wanted.entrypoint,
        "pull_steps": list(wanted.pull_steps),
        "parameter_openapi_schema": wanted.parameter_form,
        "job_variables": variables | wanted.job_variables,
        # A parameter that the flow does not have any more would make every run fail.
        "parameters": {key: value for key, value in parameters.items() if key in known},
        "description": merged(old.description, wanted.description, said),
        "tags": cast(
            "list[JsonValue]", sorted((set(standing.tags) - set(old.tags)) | _kept_tags(old, wanted, standing))
        ),
        "work_pool_name": merged(old.work_pool, wanted.work_pool, standing.work_pool_name),
        "work_queue_name": merged(old.work_queue, wanted.work_queue, standing.work_queue_name),
    }
    present: Values = {
        **standing.model_dump(include=set(target)),
        "description": said,
        "tags": cast("list[JsonValue]", sorted(standing.tags)),
    }
    changed = {key: value for key, value in target.items() if present.get(key) != value}
    if "work_queue_name" in changed:
        # The server looks a queue up in its pool.
        changed["work_pool_name"] = target["work_pool_name"]
    return changed


def _kept_tags(old: ProgramDeployment, wanted: ProgramDeployment, standing: StandingDeployment) -> set[str]:
    """The program's tags: the new ones, and those of old that nobody took away."""
    return {tag for tag in wanted.tags if tag in standing.tags or tag not in old.tags}


class ScheduleChanges(Document):
    """What must change about the schedules of a deployment."""

    added: tuple[ProgramSchedule, ...] = ()
    removed: tuple[str, ...] = ()
    patched: dict[str, Values] = Field(default_factory=dict)


def schedule_changes(
    wanted: ProgramDeployment, before: ProgramDeployment | None, standing: StandingDeployment
) -> ScheduleChanges:
    """Of the program's schedules, field by field; a person's own, and those a person removed, stay as they are."""
    if before is None:
        return ScheduleChanges()
    added, patched = [], {}
    old = {schedule.slug: schedule for schedule in before.schedules}
    for now in wanted.schedules:
        then = old.pop(now.slug, None)
        if then is None:
            added.append(now)
            continue
        found = next((schedule for schedule in standing.schedules if schedule.is_of(then)), None)
        change = _schedule_change(now, then, found) if found is not None else {}
        if found is not None and change:
            patched[found.id] = change
    removed = [
        schedule.id
        for then in old.values()
        for schedule in standing.schedules
        if schedule.is_of(then) and schedule.is_untouched(then)
    ]
    return ScheduleChanges(added=tuple(added), removed=tuple(removed), patched=patched)


def _schedule_change(now: ProgramSchedule, then: ProgramSchedule, standing: StandingSchedule) -> Values:
    target: Values = {
        "schedule": now.times if standing.has_times_of(then) and now.times != then.times else standing.schedule,
        "active": merged(then.active, now.active, standing.active),
        "parameters": merged_values(dict(then.parameters), dict(now.parameters), standing.parameters),
    }
    # All of it or nothing: the server empties the parameters of a schedule if a change does not name them.
    return target if target != standing.model_dump(include=set(target)) else {}


def apply(api: PrefectApi, wanted: ProgramDeployment, before: ProgramDeployment | None) -> str:
    """Makes or changes one deployment; returns a line about it."""
    place = f"{wanted.flow}/{wanted.name}"
    try:
        standing = StandingDeployment.model_validate(api.call("GET", f"/deployments/name/{place}"))
    except NotFoundError:
        _create(api, wanted)
        return f"{place}: {MADE}"
    fields, schedules = deployment_changes(wanted, before, standing), schedule_changes(wanted, before, standing)
    path = f"/deployments/{standing.id}"
    note = ""
    try:
        if fields:
            api.call("PATCH", path, fields)
    except ServerError:
        if standing.parameters == wanted.parameters:
            raise
        # Values that fitted the old form may not fit the new one, and no run could begin with them.
        api.call("PATCH", path, {**fields, "parameters": wanted.parameters})
        note = "; the parameters set there do not fit any more and are the program's again"
    if schedules.added:
        api.call("POST", f"{path}/schedules", [_schedule_body(schedule) for schedule in schedules.added])
    for id_, change in schedules.patched.items():
        api.call("PATCH", f"{path}/schedules/{id_}", change)
    for id_ in schedules.removed:
        api.call("DELETE", f"{path}/schedules/{id_}")
    changed = [*fields, *(["schedules"] if schedules != ScheduleChanges() else [])]
    said = f"the program changed its {', '.join(changed)}" if changed else AS_IT_WAS
    return f"{place}: {said}{note}"


def _create(api: PrefectApi, wanted: ProgramDeployment) -> None:
    flow = cast("dict[str, Json]", api.call("POST", "/flows/", {"name": wanted.flow}))
    body: dict[str, Json] = {
        "flow_id": flow["id"],
        "name": wanted.name,
        "entrypoint": wanted.entrypoint,
        "description": wanted.description,
        "tags": list(wanted.tags),
        "parameters": wanted.parameters,
        "schedules": [_schedule_body(schedule) for schedule in wanted.schedules],
        "work_pool_name": wanted.work_pool,
        "work_queue_name": wanted.work_queue,
        "job_variables": wanted.job_variables,
        "pull_steps": list(wanted.pull_steps),
        "parameter_openapi_schema": wanted.parameter_form,
        "enforce_parameter_schema": True,
    }
    api.call("POST", "/deployments/", body)


def _schedule_body(schedule: ProgramSchedule) -> dict[str, Json]:
    return {
        "slug": schedule.slug,
        "schedule": schedule.times,
        "active": schedule.active,
        "parameters": schedule.parameters,
    }


def read_program(file: Path) -> tuple[ProgramDeployment, ...]:
    """The deployments that a prefect.yaml describes. Its flows are imported for their parameter forms."""
    from prefect.flows import Flow, load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    content = cast("dict[str, Any]", yaml.safe_load(file.read_text()))
    found = []
    for item in content["deployments"]:
        flow: Flow[..., Any] = load_flow_from_entrypoint(item["entrypoint"])
        pool = item["work_pool"]
        found.append(
            ProgramDeployment(
                flow=flow.name,
                name=item["name"],
                entrypoint=item["entrypoint"],
                description=item["description"].strip(),
                tags=tuple(item.get("tags", ())),
                parameters=item.get("parameters", {}),
                schedules=tuple(ProgramSchedule.model_validate(schedule) for schedule in item.get("schedules", ())),
                work_pool=pool["name"],
                work_queue=pool["work_queue_name"],
                job_variables=pool.get("job_variables", {}),
                pull_steps=(PULL,),
                parameter_form=parameter_schema(flow).model_dump(exclude_unset=True),
            )
        )
    return tuple(found)


def deploy(api: PrefectApi, root: Path, wanted: tuple[ProgramDeployment, ...]) -> list[str]:
    """Applies all deployments and writes down what was applied; returns a line for each."""
    record = root / "prefect" / "deployed.json"
    before = Deployed.from_bytes(record.read_bytes(), where=str(record)) if record.exists() else Deployed()
    lines = [apply(api, deployment, before.of(deployment)) for deployment in wanted]
    record.parent.mkdir(parents=True, exist_ok=True)
    temporary = record.with_name(".deployed.json")
    temporary.write_bytes(Deployed(deployments=wanted).to_bytes())
    temporary.replace(record)
    return lines


def main(file: Path) -> None:
    """Deploys to the server that `PREFECT_API_URL` names."""
    settings = Settings()
    token = settings.token.get_secret_value() if settings.token is not None else None
    try:
        api = PrefectApi(os.environ["PREFECT_API_URL"], token, patience_seconds=STARTING_PATIENCE_SECONDS)
        lines = deploy(api, settings.root, read_program(file))
    except FlenwheelError as error:
        sys.exit(error.message)
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEPLOYMENTS)
