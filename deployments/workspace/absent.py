"""Takes runs back from machines that are gone, so that another machine goes on with them: each once.

A machine is gone when its worker's heartbeat has stayed the same for as long as the lease, by the clock of who looks: clocks of other
machines do not matter, and time during which the server did not answer does not count. A machine that was only cut off finds out as soon as
it hears of the server again (`deployments/prefect/fence.py`).
"""

import time
from collections.abc import Callable, Hashable

from deployments.prefect.api import FlowRun, PrefectApi

NEVER_BEGUN_SECONDS = 180.0
"""A worker writes its name on a run as soon as it takes it; one without a name for longer was taken by a worker that died just then."""


class Watch:
    """For how long things have stayed as they are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Hashable, tuple[object, float]] = {}

    def unchanged_seconds(self, thing: Hashable, state: object) -> float:
        """Since when it has been in this state, as far as this watch has looked."""
        known = self._seen.get(thing)
        if known is None or known[0] != state:
            known = self._seen[thing] = (state, self._clock())
        return self._clock() - known[1]

    def forget(self) -> None:
        """The time until now does not count: nobody could be heard."""
        self._seen.clear()

    def keep(self, things: set[Hashable]) -> None:
        """Forgets all others."""
        self._seen = {thing: seen for thing, seen in self._seen.items() if thing in things}


def take_back(api: PrefectApi, watch: Watch, lease_seconds: float) -> list[str]:
    """Schedules the runs of silent machines again; returns a line for each. To be called every few seconds."""
    heard = api.heartbeats()
    silent = {name: watch.unchanged_seconds(name, beat) for name, beat in heard.items()}
    done = []
    runs = [run for run in api.every_run(["RUNNING", "PENDING", "CANCELLING"]) if run.work_pool_name is not None]
    for run in runs:
        why = _why_lost(run, watch, silent, lease_seconds)
        if why and _is_as_it_was(api, run):
            done.append(f"{run.name} ({run.id}): {why}; {_taken(api, run, why)}")
    watch.keep({*heard, *(_thing(run) for run in runs)})
    return done


def _why_lost(run: FlowRun, watch: Watch, silent: dict[str, float], lease_seconds: float) -> str:
    """Why nobody works at a run; empty if somebody may."""
    assert run.state is not None
    if run.worker is None:
        waited = watch.unchanged_seconds(_thing(run), run.state.timestamp)
        return "a worker took it and died" if run.state.type == "PENDING" and waited > NEVER_BEGUN_SECONDS else ""
    gone = silent[run.worker] if run.worker in silent else watch.unchanged_seconds(_thing(run), run.worker)
    return f"its machine's worker {run.worker} has been silent for {gone:.0f} s" if gone > lease_seconds else ""


def _thing(run: FlowRun) -> Hashable:
    return ("run", run.id)


def _is_as_it_was(api: PrefectApi, run: FlowRun) -> bool:
    now = api.run(run.id)
    return (now.state, now.worker) == (run.state, run.worker)


def _taken(api: PrefectApi, run: FlowRun, why: str) -> str:
    assert run.state is not None
    if run.state.type == "CANCELLING":
        return f"marked as cancelled ({api.set_state(run.id, 'CANCELLED', 'Cancelled', why)})"
    # One change: whoever takes runs back and dies leaves none between two states.
    status = api.set_state(run.id, "SCHEDULED", "AwaitingRetry", f"It goes on elsewhere: {why}.")
    return f"it goes on elsewhere ({status})"
