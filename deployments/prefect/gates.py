"""Gates as the Prefect server sees them: which runs wait, and how a gate's outcome reaches its run.

The outcome is in the store before the server hears of it, so an answer is never lost: if the server is down, the reconciler of
`flenwheel up` hands it over later.
"""

import json
import time

from deployments.prefect.api import FlowRun, PrefectApi
from flenwheel_core.base.errors import NotFoundError, ServerError
from flenwheel_core.base.ids import Json
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.flow_server import GOES_ON, ResumeResult

SCHEMA_SECONDS = 4.0
"""A run is Suspended a moment before the form of its gate is stored; after this long its process must have died in between."""
NO_SCHEMA = "Run input schema not found."
NOT_WAITING = "Cannot resume a flow run that is not paused."


def waiting_runs(api: PrefectApi) -> dict[str, FlowRun]:
    """Runs that are suspended at a gate, by the gate's name."""
    found = {}
    for run in api.every_run(["PAUSED"]):
        gate = gate_of(run)
        if gate is not None:
            found[gate] = run
    return found


def gate_of(run: FlowRun) -> str | None:
    """The gate a run waits at; None if it does not wait."""
    keys = run.state.input_keys() if run.state is not None and run.waits() else None
    if keys is None:
        return None
    # suspended-<gate>-<attempt>-response
    return keys["response"].removeprefix("suspended-").removesuffix("-response").rpartition("-")[0]


def resume_gate(api: PrefectApi, flow_run_id: str, outcome: ClosedGate) -> ResumeResult:
    """Hands a gate's outcome to the run that waits for it; accepted if the run goes on, whoever resumed it first.

    Raises ServerError if the server does not answer.
    """
    answer: dict[str, Json] = {
        "verdict": outcome.verdict,
        "override_minimum": outcome.enough,
        "reviewer": outcome.reviewer[:100],
        "decisions_digest": outcome.decisions,
    }
    end = time.monotonic() + SCHEMA_SECONDS
    while True:
        try:
            run = api.run(flow_run_id)
        except NotFoundError:
            return ResumeResult(accepted=False, reason="The server does not know the run that opened this gate.")
        gate = gate_of(run)
        if gate is None or run.state is None:
            if run.state is not None and run.state.type in GOES_ON and not run.waits():
                # It takes the outcome from the store when it comes to the gate, or has taken it already.
                return ResumeResult(accepted=True)
            state = run.state.name if run.state is not None else "unknown"
            return ResumeResult(accepted=False, reason=f"The run does not wait any more; it is {state}.")
        if gate != outcome.gate:
            return ResumeResult(accepted=False, reason=f"The run waits at another gate now: {gate}.")
        status, reason = _resume(api, flow_run_id, answer)
        if status == "ACCEPT":
            return ResumeResult(accepted=True)
        if NO_SCHEMA in reason:
            if time.monotonic() > end:
                _restore_form(api, run)
                end += SCHEMA_SECONDS
            time.sleep(0.5)
            continue
        # It waited a moment ago: the reconciler was faster, or the server's reply got lost. The state says whether it goes on.
        if NOT_WAITING in reason:
            time.sleep(0.2)
            continue
        return ResumeResult(accepted=False, reason=reason)


def _resume(api: PrefectApi, flow_run_id: str, answer: dict[str, Json]) -> tuple[str, str]:
    response = api.send("POST", f"/flow_runs/{flow_run_id}/resume", {"run_input": answer})
    if response.status_code >= 400:
        raise ServerError(f"The Prefect server answered {response.status_code} to the resume.", why=response.text[:300])
    body = response.json()
    details = body.get("details") or {}
    return str(body.get("status")), str(details.get("reason") or "")


def _restore_form(api: PrefectApi, run: FlowRun) -> None:
    """Stores the form that a run could not store because its process died right after it suspended."""
    from flows.gates import GateOutcome

    keys = run.state.input_keys() if run.state is not None else None
    if keys is not None and api.read_input(run.id, keys["schema"]) is None:
        api.write_input(run.id, keys["schema"], json.dumps(GateOutcome.model_json_schema()))
