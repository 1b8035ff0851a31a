"""Prefect's worker with a limit that holds, and fair: `python -m deployments.prefect.worker worker start ... --limit N`.

A run whose gate was answered at once, or that was given back, is offered again while its last process still ends. Prefect 3.8.8's worker
then asks its limiter for a second place for the same run, which is an error there: the worker ends, and all of its runs crash. Here it
leaves such a run until its process has ended. Of the others it takes those first whose turn it is (`fairness.py`).

A share of a training over several machines names the slot that is held for it: the worker of that slot takes it, whatever else it works
at, and no other one does.
"""

import runpy
from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

from anyio import to_thread
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.workers.base import BaseWorker

from deployments.prefect.affinity import ModelsHere, has_waited
from deployments.prefect.api import PAGE
from deployments.prefect.fairness import Served, Waiting, in_fair_order, owner_of
from flenwheel_core.base.settings import Settings
from tasks.share_names import ATTEMPT, SLOT

MOST_PAGES = 5
"""So many pages of waiting runs are looked at, at most: the first 1 000 of a pool that wait."""
WORKING = FlowRunFilter(
    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
)


def limited_and_fair(worker: type[Any] = BaseWorker, models: ModelsHere | None = None, slot: str | None = None) -> None:
    """From now on, workers of this process take no run that holds one of their places, and share them among characters.

    With `models`, of runs whose turn it is equally they take those whose models lie here. `slot`: whose shares of trainings they take.
    """
    worker._submit_scheduled_flow_runs = _fairly(worker._submit_scheduled_flow_runs)
    worker._models_here = models
    worker._slot = slot


def _fairly(submit: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(submit)
    async def submit_fairly(self: Any, flow_run_response: list[Any]) -> Any:
        held = self._limiter.statistics().borrowers if self._limiter else ()
        offered = [entry for entry in flow_run_response if entry.flow_run.id not in held]
        own = _own_shares(self, offered, held)
        shares = await submit(self, own) if own else []
        waiting = [entry for entry in offered if not _is_share(entry)]
        if not waiting or (self._limiter and self._limiter.available_tokens < 1):
            return shares
        if len(flow_run_response) >= PAGE:
            further = await _further(self, flow_run_response)
            waiting += [entry for entry in further if entry.flow_run.id not in held and not _is_share(entry)]
        ordered = await _ordered(self, waiting)
        taken = await submit(self, ordered)
        owners = {_owner(entry.flow_run) for entry in waiting}
        for run in taken:
            _served(self).note(_owner(run), owners)
        return [*shares, *taken]

    return submit_fairly


def _is_share(entry: Any) -> bool:
    return ATTEMPT in entry.flow_run.parameters


def _own_shares(worker: Any, offered: list[Any], held: Collection[Any]) -> list[Any]:
    """Shares that this worker is to take now. Its limit does not count them: their card is held for them, whatever else waits for it."""
    own = [entry for entry in offered if _is_share(entry) and entry.flow_run.parameters.get(SLOT) == worker._slot]
    if worker._limiter:
        places, working = getattr(worker, "_places_and_shares", (worker._limiter.total_tokens, frozenset()))
        working = frozenset(id_ for id_ in working if id_ in held) | {entry.flow_run.id for entry in own}
        worker._places_and_shares = (places, working)
        worker._limiter.total_tokens = places + len(working)
    return own


async def _ordered(worker: Any, waiting: list[Any]) -> list[Any]:
    """Those whose turn it is, no more than the worker has places for: the next look may find others to go first.

    The server is asked who works only if several wait for their turn.
    """
    lines = [Waiting(entry, str(entry.work_queue_id), _owner(entry.flow_run)) for entry in waiting]
    if len({line.owner for line in lines}) < 2:
        return waiting
    working = await _working(worker)
    places = int(worker._limiter.available_tokens) if worker._limiter else None
    if places == 0:  # another look took the last one while the server was asked
        return []
    models: ModelsHere | None = worker._models_here
    if models is None:
        return [line.run for line in in_fair_order(lines, working, _served(worker), places)]
    now = datetime.now(UTC)

    def near(entry: Any) -> bool:
        run = entry.flow_run
        return has_waited(run.next_scheduled_start_time, now) or models.has(run.parameters)

    # It reads the store.
    ordered = await to_thread.run_sync(in_fair_order, lines, working, _served(worker), places, near)
    return [line.run for line in ordered]


async def _working(worker: Any) -> Counter[str]:
    """How many runs of each owner work in this worker's pool, on any machine."""
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[worker._work_pool_name]))
    found: Counter[str] = Counter()
    while True:
        runs = await worker.client.read_flow_runs(
            flow_run_filter=WORKING, work_pool_filter=pool, limit=PAGE, offset=found.total()
        )
        found.update(_owner(run) for run in runs)
        if len(runs) < PAGE:
            return found


async def _further(worker: Any, page: list[Any]) -> list[Any]:
    """The pages after a full one: one owner's runs alone may fill it. Pages overlap where runs were scheduled at the same moment."""
    known = {entry.flow_run.id for entry in page}
    found: list[Any] = []
    for _ in range(MOST_PAGES - 1):
        # Of the queue that filled the page: those after it come later anyway.
        body = {
            "scheduled_after": page[-1].flow_run.next_scheduled_start_time.isoformat(),
            "scheduled_before": (datetime.now(UTC) + timedelta(seconds=int(worker._prefetch_seconds))).isoformat(),
        }
        answer = await worker.client.request(
            "POST",
            "/work_pools/{name}/get_scheduled_flow_runs",
            path_params={"name": worker._work_pool_name},
            json=body,
        )
        page = WorkerFlowRunResponse.model_validate_list(answer.json())
        fresh = [entry for entry in page if entry.flow_run.id not in known]
        known |= {entry.flow_run.id for entry in fresh}
        found += fresh
        if len(page) < PAGE or not fresh:
            break
    return found


def _served(worker: Any) -> Served:
    if not hasattr(worker, "_served_owners"):
        worker._served_owners = Served()
    found: Served = worker._served_owners
    return found


def _owner(run: FlowRun) -> str:
    return owner_of(run.parameters, run.deployment_id)


if __name__ == "__main__":
    settings = Settings()
    limited_and_fair(models=ModelsHere(settings), slot=settings.slot_name)
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)
