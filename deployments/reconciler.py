"""Puts right what a crash left: runs whose process is gone, slots they held, and answered gates whose run was never told.

A suspended run has no process and never gets one taken away: only its own gate's answer moves it.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from deployments.leases import held_leases, release
from deployments.prefect_api import FlowRun, PrefectApi
from deployments.prefect_gates import resume_gate, waiting_runs
from flenwheel_core.errors import NotFoundError
from flenwheel_core.review.session import Reviews
from flenwheel_core.settings import Settings
from flenwheel_core.store import Store

RUNNING_GRACE_SECONDS = 20.0
PENDING_GRACE_SECONDS = 180.0
"""A worker takes a run (Pending) some seconds before its process starts; longer means that the worker died in between."""


def reconcile(
    api: PrefectApi,
    settings: Settings,
    *,
    running_grace_seconds: float = RUNNING_GRACE_SECONDS,
    pending_grace_seconds: float = PENDING_GRACE_SECONDS,
) -> list[str]:
    """Does all of it; returns a line for each thing it did. Raises ServerError if the server does not answer."""
    return [
        *mark_crashed(api, settings, running_grace_seconds, pending_grace_seconds),
        *release_lost_leases(api, settings),
        *hand_over_answers(api, Store(settings.store_url, settings.store_options)),
    ]


def mark_crashed(
    api: PrefectApi, settings: Settings, running_grace_seconds: float, pending_grace_seconds: float
) -> list[str]:
    """Marks runs as crashed whose process is not on this machine any more, so that they can be retried."""
    done = []
    grace = {"RUNNING": running_grace_seconds, "CANCELLING": running_grace_seconds, "PENDING": pending_grace_seconds}
    suspects = [run for run in api.runs(states=list(grace)) if run.state and _age_seconds(run) > grace[run.state.type]]
    alive = run_processes(settings) if suspects else {}
    for run in suspects:
        if run.id in alive or run.deployment_id is None:
            continue
        status = api.set_state(
            run.id,
            "CRASHED",
            "Crashed",
            "Its process is gone (killed, or the machine restarted). Retry it: what is done is kept.",
        )
        done.append(f"{run.name} ({run.id[:8]}): its process is gone; marked as crashed ({status})")
    return done


def take_up_again(api: PrefectApi, settings: Settings) -> list[str]:
    """Schedules runs again that the last stop, or a power cut, left without a process. Call it before a worker runs."""
    done = []
    alive = run_processes(settings)
    for run in api.runs(states=["RUNNING", "PENDING"]):
        if run.id not in alive and run.deployment_id is not None:
            api.set_state(run.id, "CRASHED", "Crashed", "It was interrupted by a stop of the workspace.")
            status = api.retry(run.id, force=False)
            done.append(f"{run.name} ({run.id[:8]}): was interrupted; goes on where it was ({status})")
    return done


def release_lost_leases(api: PrefectApi, settings: Settings) -> list[str]:
    """Gives back slots whose holder was killed, so that the next run need not wait for the lease to expire."""
    done = []
    leases = held_leases(settings, api)
    alive = run_processes(settings) if leases else {}
    for lease in leases:
        if lease.flow_run not in alive:
            release(api, lease)
            done.append(f"{lease.limit}: its holder {lease.flow_run[:8]} is gone; the slot is free again")
    return done


def hand_over_answers(api: PrefectApi, store: Store) -> list[str]:
    """Resumes runs that wait at a gate which was answered while the server was away."""
    done, reviews = [], Reviews(store)
    for gate, run in waiting_runs(api).items():
        try:
            session, closed = reviews.get(gate), reviews.closed(gate)
        except NotFoundError:
            continue
        if closed is not None and session.flow_run == run.id:
            result = resume_gate(api, run.id, closed)
            done.append(f"{gate}: its answer reached the run" if result.accepted else f"{gate}: {result.reason}")
    return done


def run_processes(settings: Settings) -> dict[str, int]:
    """Flow runs of this workspace with a living process: run id to process id. The stages' own processes do not count."""
    found = {}
    mine = b"FLENWHEEL_WORKSPACE=" + os.fsencode(settings.root)
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes()
            gone = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if gone or mine not in environment or b"flenwheel_core.worker" in command:
            continue
        for item in environment:
            name, _, value = item.partition(b"=")
            if name == b"PREFECT__FLOW_RUN_ID":
                found[value.decode(errors="replace")] = int(folder.name)
    return found


def _age_seconds(run: FlowRun) -> float:
    """How long a run has been in its state."""
    assert run.state is not None
    began = datetime.fromisoformat(run.state.timestamp.replace("Z", "+00:00"))
    return (datetime.now(UTC) - began).total_seconds()
