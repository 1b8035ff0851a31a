"""The few endpoints of the Prefect server that FLENwheel uses, over plain HTTP: quick to import, and every failure has a remedy."""

import base64
import time
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx
from pydantic import BaseModel, ConfigDict

from flenwheel_core.base.errors import NotFoundError, ServerError
from flenwheel_core.base.ids import Json
from flenwheel_core.base.services import load_services
from flenwheel_core.base.settings import Settings

BUSY = (408, 429, 502, 503, 504)
"""Answers that are worth another try; sqlite answers 503 when two writers meet."""
PATIENCE_SECONDS = 8.0
STARTING_PATIENCE_SECONDS = 180.0
"""While a workspace starts, all its processes load at once, and a server on a slow or busy machine answers late."""
PAGE = 200
"""Runs that the server gives at once, at most."""
USER = "flenwheel"
DEFAULT_QUEUE = "default"
"""Where runs of schedules wait."""
INTERACTIVE_QUEUE = "interactive"
"""Where runs wait that a person started: it goes first."""


def basic(token: str) -> str:
    """The header that tells the Prefect server the token."""
    return "Basic " + base64.b64encode(f"{USER}:{token}".encode()).decode()


class RunState(BaseModel):
    """The state of a flow run, as far as needed here."""

    model_config = ConfigDict(extra="ignore")

    type: str
    name: str
    message: str | None = None
    timestamp: str = ""
    state_details: dict[str, Any] = {}

    def input_keys(self) -> dict[str, str] | None:
        """Keys of the form a suspended run waits with: response, schema, description."""
        keys = self.state_details.get("run_input_keyset")
        return cast("dict[str, str] | None", keys)


class FlowRun(BaseModel):
    """A flow run, as far as needed here."""

    model_config = ConfigDict(extra="ignore")

    id: str
    name: str
    state: RunState | None = None
    deployment_id: str | None = None
    parameters: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    run_count: int = 0
    work_pool_name: str | None = None
    start_time: str | None = None
    infrastructure_pid: str | None = None
    """The process that the worker started, on the worker's machine."""

    @property
    def worker(self) -> str | None:
        """The worker that took the run last: each writes its name on it before it starts the process."""
        return self.labels.get("prefect.worker.name")

    def waits(self) -> bool:
        """True for a run that is suspended."""
        return self.state is not None and self.state.type == "PAUSED"


class Limit(BaseModel):
    """A global concurrency limit."""

    model_config = ConfigDict(extra="ignore")

    id: str
    name: str
    limit: int
    active_slots: int


class PrefectApi:
    """A client of the server. Every method raises ServerError if the server does not answer."""

    def __init__(self, url: str, token: str | None = None, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.url = url
        self._patience = patience_seconds
        headers = {}
        if token is not None:
            headers["Authorization"] = basic(token)
        # No connection is kept: a client then holds nothing that would have to be closed.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=20, limits=limits)

    def call(self, method: str, path: str, body: Json = None) -> Json:
        """The JSON of an answer, after as many tries as patience allows. Raises NotFoundError for 404."""
        answer = self.send(method, path, body)
        if answer.status_code == 404:
            raise NotFoundError(f"The Prefect server knows no {path}.")
        if answer.status_code in (401, 403):
            raise ServerError(
                "The Prefect server refused the token.", remedy="Set FLENWHEEL_TOKEN as `flenwheel up` has it."
            )
        if answer.status_code >= 400:
            raise ServerError(f"The Prefect server answered {answer.status_code} to {path}.", why=answer.text[:500])
        return cast(Json, answer.json()) if answer.content else None

    def send(self, method: str, path: str, body: Json = None) -> httpx.Response:
        """One answer that is not a passing failure."""
        end = time.monotonic() + self._patience
        delay = 0.1
        while True:
            problem: str
            try:
                answer = (
                    self._http.request(method, path, json=body)
                    if body is not None
                    else self._http.request(method, path)
                )
                if answer.status_code not in BUSY:
                    return answer
                problem = f"HTTP {answer.status_code}"
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            if time.monotonic() + delay > end:
                raise ServerError(
                    "The Prefect server does not answer.",
                    why=f"{self.url}: {problem}.",
                    remedy="Start it with `flenwheel up`; nothing is lost meanwhile.",
                )
            time.sleep(delay)
            delay = min(1.0, delay * 2)

    def healthy(self) -> bool:
        """True if the server answers right now."""
        try:
            return self._http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    # flow runs

    def run(self, id_: str) -> FlowRun:
        """A flow run; raises NotFoundError."""
        return FlowRun.model_validate(self.call("GET", f"/flow_runs/{id_}"))

    def runs(self, *, states: Sequence[str] = (), ids: Sequence[str] = (), limit: int = PAGE) -> list[FlowRun]:
        """Flow runs by state type and id, the latest first."""
        wanted: dict[str, Json] = {}
        if states:
            wanted["state"] = {"type": {"any_": list(states)}}
        if ids:
            wanted["id"] = {"any_": list(ids)}
        found = self.call(
            "POST", "/flow_runs/filter", {"flow_runs": wanted, "sort": "EXPECTED_START_TIME_DESC", "limit": limit}
        )
        return [FlowRun.model_validate(item) for item in cast("list[Json]", found)]

    def every_run(self, states: Sequence[str]) -> list[FlowRun]:
        """All flow runs in states of these types, however many."""
        found: list[FlowRun] = []
        while True:
            body: dict[str, Json] = {
                "flow_runs": {"state": {"type": {"any_": list(states)}}},
                "sort": "ID_DESC",
                "limit": PAGE,
                "offset": len(found),
            }
            page = cast("list[Json]", self.call("POST", "/flow_runs/filter", body))
            found += [FlowRun.model_validate(item) for item in page]
            if len(page) < PAGE:
                return found

    def start(self, deployment: str, parameters: dict[str, Json], *, idempotency_key: str | None = None) -> FlowRun:
        """Schedules a run of a deployment `flow/name` for now; one key gives one run, however often.

        Somebody waits for it: workers take it before what schedules began, unless the deployment has a queue of its own.
        """
        known = cast("dict[str, Json]", self.call("GET", f"/deployments/name/{deployment}"))
        id_ = known["id"]
        body: dict[str, Json] = {"parameters": parameters, "state": {"type": "SCHEDULED", "name": "Scheduled"}}
        if known.get("work_pool_name") and known.get("work_queue_name") == DEFAULT_QUEUE:
            body["work_queue_name"] = INTERACTIVE_QUEUE
        if idempotency_key is not None:
            body["idempotency_key"] = idempotency_key
        return FlowRun.model_validate(self.call("POST", f"/deployments/{id_}/create_flow_run", body))

    def set_state(self, id_: str, type_: str, name: str, message: str = "", *, force: bool = False) -> str:
        """Proposes a state; returns ACCEPT, REJECT, ABORT or WAIT."""
        body: dict[str, Json] = {"state": {"type": type_, "name": name, "message": message}, "force": force}
        answer = cast("dict[str, Json]", self.call("POST", f"/flow_runs/{id_}/set_state", body))
        return str(answer["status"])

    def retry(self, id_: str, *, force: bool = True) -> str:
        """What the Retry button does: schedules the run again; what it finished is not made again."""
        return self.set_state(id_, "SCHEDULED", "AwaitingRetry", "retried", force=force)

    def cancel(self, id_: str) -> None:
        """What the Cancel button does: a worker ends the process of a run that works; any other run is cancelled at once."""
        state = self.run(id_).state
        if state is not None and state.type == "RUNNING":
            self.set_state(id_, "CANCELLING", "Cancelling", "A person ended the turn.")
        else:
            self.set_state(id_, "CANCELLED", "Cancelled", "A person ended the turn.")

    # inputs, limits

    def read_input(self, id_: str, key: str) -> str | None:
        """What is stored for a run under a key."""
        try:
            return cast("str | None", self.call("GET", f"/flow_runs/{id_}/input/{key}"))
        except NotFoundError:
            return None

    def write_input(self, id_: str, key: str, value: str) -> None:
        self.call("POST", f"/flow_runs/{id_}/input", {"key": key, "value": value})

    def living_workers(self, pool: str) -> set[str]:
        """Names of the workers of a pool that the server hears from."""
        found = cast("list[dict[str, str]]", self.call("POST", f"/work_pools/{pool}/workers/filter", {}))
        return {worker["name"] for worker in found if worker.get("status") == "ONLINE"}

    def heartbeats(self) -> dict[str, str]:
        """When each worker of every pool was last heard of, as the server writes it."""
        found: dict[str, str] = {}
        for pool in cast("list[dict[str, str]]", self.call("POST", "/work_pools/filter", {"limit": PAGE})):
            path = f"/work_pools/{pool['name']}/workers/filter"
            for worker in cast("list[dict[str, str]]", self.call("POST", path, {})):
                found[worker["name"]] = max(found.get(worker["name"], ""), worker.get("last_heartbeat_time") or "")
        return found

    def ready(self) -> bool:
        """True if the server answers right now, and its database does."""
        try:
            return self._http.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def clock(self) -> datetime:
        """The server's time, to the second."""
        return parsedate_to_datetime(self.send("GET", "/health").headers["date"])

    def limits(self) -> list[Limit]:
        """All global concurrency limits."""
        found = self.call("POST", "/v2/concurrency_limits/filter", {"limit": 200})
        return [Limit.model_validate(item) for item in cast("list[Json]", found)]

    def ensure_limit(self, name: str, limit: int) -> None:
        """Creates a global concurrency limit if there is none of that name."""
        if all(known.name != name for known in self.limits()):
            answer = self.send("POST", "/v2/concurrency_limits/", {"name": name, "limit": limit, "active": True})
            if answer.status_code >= 400 and answer.status_code != 409:
                raise ServerError(f"The limit {name} could not be made.", why=answer.text[:300])

    def clear_limit(self, name: str) -> None:
        """Sets a limit's active slots to none: only when nothing holds it."""
        self.call("PATCH", f"/v2/concurrency_limits/{name}", {"active_slots": 0})


def open_api(settings: Settings, *, patience_seconds: float = PATIENCE_SECONDS) -> PrefectApi:
    """The server that the settings name, or this workspace's own. Raises ServerError if none was ever started."""
    token = settings.token.get_secret_value() if settings.token else None
    if settings.server_url is not None:
        return PrefectApi(f"{settings.server_url}/api", token, patience_seconds=patience_seconds)
    services = load_services(settings)
    if services is None:
        raise ServerError(
            "No server runs in this workspace.",
            why=f"the workspace is {settings.root}.",
            remedy="Start it in another terminal: flenwheel up. Or set FLENWHEEL_WORKSPACE.",
        )
    return PrefectApi(services.api_url, token, patience_seconds=patience_seconds)
