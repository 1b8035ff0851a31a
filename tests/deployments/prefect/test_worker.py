"""A run that is offered again while its last process still ends does not end the worker that has a limit."""

import uuid
from types import SimpleNamespace

import anyio
import pytest
from prefect.workers.process import ProcessWorker

from deployments.prefect.worker import leave_runs_that_still_end


def offered_again(kind: type[ProcessWorker]) -> list[object]:
    """What a worker with two places does with a run that holds one of them."""

    async def offer() -> list[object]:
        worker = kind.__new__(kind)
        worker._submitting_flow_run_ids = set()
        worker._limiter = anyio.CapacityLimiter(2)
        run = SimpleNamespace(id=uuid.uuid4())
        worker._limiter.acquire_on_behalf_of_nowait(run.id)
        return list(await worker._submit_scheduled_flow_runs([SimpleNamespace(flow_run=run)]))  # type: ignore[list-item]

    return anyio.run(offer)


def test_it_is_left_until_its_process_has_ended() -> None:
    class Patient(ProcessWorker):
        type = "patient"

    leave_runs_that_still_end(Patient)
    assert offered_again(Patient) == []


def test_prefects_own_worker_would_end() -> None:
    """When this fails, `deployments/prefect/worker.py` has had its day."""
    with pytest.raises(RuntimeError, match="already holding"):
        offered_again(ProcessWorker)
