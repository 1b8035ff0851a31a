"""Puts right what a crash left: runs whose process is gone, slots they held, and answered gates whose run was never told.

It judges only runs of this workspace's own worker, and of other workers that work in this very workspace on this machine, such as one for
a second card. A suspended run has no process and never gets one taken away: only its own gate's answer moves it.
Beside these it schedules again what a worker of this program's pool took and never began: without its name, no process of it can live
anywhere; with the name of a worker that the server no longer hears from, nobody is about to begin it.
Orders of the training service that wait for their run get it, and their runs that crashed begin again by themselves.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from deployments.prefect.api import FlowRun, PrefectApi
from deployments.prefect.leases import held_leases, release
from deployments.prefect.orders import keep_orders
from deployments.workspace.courier import Courier
from deployments.workspace.environment import POOL, worker_names
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.orders import Orders
from flenwheel_core.runner.flow_run import lives, run_note
from flenwheel_core.store import Store

ENGINE = b"deployments.prefect.engine"
RUNNING_GRACE_SECONDS = 20.0
PENDING_GRACE_SECONDS = 180.0
"""A worker takes a run (Pending) some seconds before its process starts; longer means that the worker died in between."""


def reconcile(
    api: PrefectApi,
    settings: Settings,
    courier: Courier | None = None,
    *,
    running_grace_seconds: float = RUNNING_GRACE_SECONDS,
    pending_grace_seconds: float = PENDING_GRACE_SECONDS,
) -> list[str]:
    """Does all of it; returns a line for each thing it did. Raises ServerError if the server does not answer."""
    store = Store(settings.store_url, settings.store_options)
    return [
        *mark_crashed(api, settings, running_grace_seconds, pending_grace_seconds),
        *release_lost_leases(api, settings),
        *(courier or Courier(store)).hand_over(api),
        *keep_orders(api, Orders(store)),
    ]


def mark_crashed(
    api: PrefectApi,
    settings: Settings,
    running_grace_seconds: float = RUNNING_GRACE_SECONDS,
    pending_grace_seconds: float = PENDING_GRACE_SECONDS,
    *,
    of_others: bool = True,
) -> list[str]:
    """Marks runs as crashed whose process is gone, so that they can be retried, and schedules again those that were never begun.

    `of_others`: of other workers, too, where that can be known. One place of a server does that.
    """
    done = []
    living = cache(partial(api.living_workers, POOL))
    grace = {"RUNNING": running_grace_seconds, "CANCELLING": running_grace_seconds, "PENDING": pending_grace_seconds}
    for run in api.every_run(list(grace)):
        if run.state is None or _age_seconds(run) <= grace[run.state.type]:
            continue
        lost = is_lost(run, settings)
        if not (lost or (of_others and never_began(run, settings, living))) or api.run(run.id).state != run.state:
            continue
        if not lost or (run.state.type == "PENDING" and run_note(settings, run.id) is None):
            status = _schedule_again(api, run, "The worker that took it never began it.")
            done.append(f"{run.name} ({run.id}): taken by a worker that never began it; scheduled again ({status})")
            continue
        if run.state.type == "CANCELLING":
            status = api.set_state(run.id, "CANCELLED", "Cancelled", "Its process is gone.")
            done.append(f"{run.name} ({run.id}): its process is gone; marked as cancelled ({status})")
            continue
        reason = why_it_ended(settings, run.id)
        status = api.set_state(run.id, "CRASHED", "Crashed", f"{reason} Retry it: what is done is kept.")
        done.append(f"{run.name} ({run.id}): {reason} Marked as crashed ({status})")
    return done


def take_up_again(api: PrefectApi, settings: Settings) -> list[str]:
    """Schedules runs again that the last stop, or a power cut, left without a process. Call it before this workspace's worker runs."""
    done = []
    for run in api.every_run(["RUNNING", "PENDING"]):
        if is_lost(run, settings):
            status = _schedule_again(api, run, "It was interrupted by a stop of the workspace.")
            done.append(f"{run.name} ({run.id}): was interrupted; goes on where it was ({status})")
    return done


def is_lost(run: FlowRun, settings: Settings) -> bool:
    """True for a run whose process does not live, if that can be known: its last worker is one of this workspace's, or left a note here.

    The worker of another machine has another name, and its runs hold their locks elsewhere: of those nothing is known here.
    """
    if run.worker is None or lives(settings, run.id):
        return False
    if run.worker in worker_names(settings):
        return not is_starting(run)
    note = run_note(settings, run.id)
    return note is not None and note.worker == run.worker and note.of_this_machine


def is_starting(run: FlowRun) -> bool:
    """True while the process that this machine's worker started for a run is there, though it does not hold its lock yet.

    On a busy machine minutes pass until it does.
    """
    pid = (run.infrastructure_pid or "").rpartition(":")[2]
    if not pid.isdigit():
        return False
    try:
        command = (Path("/proc") / pid / "cmdline").read_bytes()
        settings = (Path("/proc") / pid / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    # Process ids come again, after a start of the machine as in containers: the process says which run it is for.
    return ENGINE in command and f"PREFECT__FLOW_RUN_ID={run.id}".encode() in settings


def never_began(run: FlowRun, settings: Settings, living: Callable[[], set[str]]) -> bool:
    """True for a run of this program's pool that was taken, and that no worker is about to begin.

    It bears no worker's name, which a worker writes on it at once, or that of one which is not among the `living` ones. To be asked of runs
    that have been so for longer than a worker needs. Runs of other pools, or of none, are others' business; of this workspace's own worker
    `is_lost` knows more.
    """
    if run.state is None or run.state.type != "PENDING" or run.work_pool_name != POOL:
        return False
    if lives(settings, run.id) or run.worker in worker_names(settings):
        return False
    return run.worker is None or run.worker not in living()


def _schedule_again(api: PrefectApi, run: FlowRun, why: str) -> str:
    api.set_state(run.id, "CRASHED", "Crashed", why)
    return api.retry(run.id, force=False)


def why_it_ended(settings: Settings, flow_run: str) -> str:
    """A sentence about the end of a run's process, by its own note."""
    note = run_note(settings, flow_run)
    if note is None or not note.ended:
        return "Its process is gone without a word (killed, or the machine restarted)."
    return f"Its process ended: {note.ended}."


def release_lost_leases(api: PrefectApi, settings: Settings) -> list[str]:
    """Gives back slots whose holder was killed, so that the next run need not wait for the lease to expire."""
    done = []
    leases = held_leases(settings, api)
    holders = {run.id: run for run in api.runs(ids=[lease.flow_run for lease in leases])} if leases else {}
    for lease in leases:
        holder = holders.get(lease.flow_run)
        if holder is not None and is_lost(holder, settings):
            release(api, lease)
            done.append(f"{lease.limit}: its holder {holder.name} ({holder.id}) is gone; the slot is free again")
    return done


def _age_seconds(run: FlowRun) -> float:
    """How long a run has been in its state."""
    assert run.state is not None
    began = datetime.fromisoformat(run.state.timestamp.replace("Z", "+00:00"))
    return (datetime.now(UTC) - began).total_seconds()
