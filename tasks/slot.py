"""The GPU slot: one GPU stage at a time on a card, whatever is scheduled.

Prefect's limit `gpu:<slot>` queues and shows who waits, and of several cards gives all or none; the kernel lock that the stage's own
process holds is the guarantee. The lease is short, so that a killed holder blocks others for about a minute at most, and a server that is
away never ends a running training.
"""

import contextvars
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.concurrency.sync import concurrency
from prefect.runtime import flow_run

from flenwheel_core.base.progress import ProgressEvent, Sink
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.slots import slots_for

LEASE_SECONDS = 60
WORTH_A_LINE_SECONDS = 1.0


@contextmanager
def gpu_slot(settings: Settings, stage: str, sink: Sink, cards: int = 1) -> Iterator[None]:
    """Holds the concurrency limits of so many cards, all at once; waiting is told through the sink.

    Raises ResourceError if this worker has fewer.
    """
    slots = slots_for(settings, cards)
    name = " and ".join(slot.name for slot in slots)
    with get_client(sync_client=True) as client:
        for slot in slots:
            client.upsert_global_concurrency_limit_by_name(slot.limit, limit=1)
    began = time.monotonic()
    # Told only if it lasts: the notice writes to the server, and SQLite answers two writers at once with "try again in two seconds".
    notice = ProgressEvent(stage=stage, kind="waiting", text=f"for the GPU slot {name}")
    waiting = threading.Timer(WORTH_A_LINE_SECONDS, contextvars.copy_context().run, (sink, notice))
    waiting.start()
    # The holder is the run, not the task: its process is what a reconciler can look for.
    holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(flow_run.id)) if flow_run.id else None
    held = concurrency(
        [slot.limit for slot in slots],
        occupy=1,
        strict=True,
        lease_duration=LEASE_SECONDS,
        raise_on_lease_renewal_failure=False,
        holder=holder,
    )
    with ExitStack() as stack:
        try:
            stack.enter_context(held)
        finally:
            waiting.cancel()
        waited = time.monotonic() - began
        if waited >= WORTH_A_LINE_SECONDS:
            sink(ProgressEvent(stage=stage, kind="note", text=f"waited {waited:.0f} s for the GPU slot {name}"))
        yield
