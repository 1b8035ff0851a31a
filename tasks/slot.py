"""The GPU slot: one GPU stage at a time on a card, whatever is scheduled.

Prefect's limit `gpu:<slot>` queues and shows who waits, and of several cards gives all or none; the kernel lock that the stage's own
process holds is the guarantee. The lease is short, so that a killed holder blocks others for about a minute at most, and a server that is
away never ends a running training.
"""

import contextvars
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.concurrency.sync import concurrency
from prefect.runtime import flow_run

from flenwheel_core.base.progress import ProgressEvent, Sink
from flenwheel_core.base.settings import LIMIT_PREFIX, Settings
from flenwheel_core.base.slots import slots_for
from tasks.other_machines import OtherMachines

LEASE_SECONDS = 60
CHOOSE_AGAIN_SECONDS = 30.0
WORTH_A_LINE_SECONDS = 1.0


@contextmanager
def gpu_slot(
    settings: Settings, stage: str, sink: Sink, cards: int = 1, machines: int = 1
) -> Iterator[tuple[str, ...]]:
    """Holds the concurrency limits of so many cards, on each of so many machines; the name of each machine's first slot, this one's first.

    All are granted in one request or none is, and nothing is held meanwhile. Waiting is told through the sink. Raises ResourceError if this
    worker has fewer cards or works alone, RetryableError if other machines are not there.
    """
    own = [slot.name for slot in slots_for(settings, cards)]
    name = " and ".join(own) + (f" and those of {machines - 1} other machines" if machines > 1 else "")
    _make_limits(own)
    began = time.monotonic()
    # Told only if it lasts: the notice writes to the server, and SQLite answers two writers at once with "try again in two seconds".
    notice = ProgressEvent(stage=stage, kind="waiting", text=f"for the GPU slot {name}")
    waiting = threading.Timer(WORTH_A_LINE_SECONDS, contextvars.copy_context().run, (sink, notice))
    waiting.start()
    with ExitStack() as stack:
        try:
            others = OtherMachines(settings, machines - 1, cards) if machines > 1 else None
            firsts = _taken(own, others, stack)
        finally:
            waiting.cancel()
        waited = time.monotonic() - began
        if waited >= WORTH_A_LINE_SECONDS:
            sink(ProgressEvent(stage=stage, kind="note", text=f"waited {waited:.0f} s for the GPU slot {name}"))
        yield (settings.slot_name, *firsts)


def _taken(own: list[str], others: OtherMachines | None, stack: ExitStack) -> tuple[str, ...]:
    """The first slot of each other machine, once all are held until the stack is closed."""
    # The holder is the run, not the task: its process is what a reconciler can look for.
    holder = ConcurrencyLeaseHolder(type="flow_run", id=UUID(flow_run.id)) if flow_run.id else None
    while True:
        chosen = others.chosen() if others is not None else ()
        theirs = [name for names in chosen for name in names]
        _make_limits(theirs)
        held = concurrency(
            [LIMIT_PREFIX + name for name in (*own, *theirs)],
            occupy=1,
            # Others' may be free by then where these are not.
            timeout_seconds=None if others is None else CHOOSE_AGAIN_SECONDS,
            strict=True,
            lease_duration=LEASE_SECONDS,
            raise_on_lease_renewal_failure=False,
            holder=holder,
        )
        try:
            stack.enter_context(held)
        except TimeoutError:
            if others is None:
                raise
            continue
        return tuple(names[0] for names in chosen)


def _make_limits(slots: Sequence[str]) -> None:
    """A slot without a limit would be granted to anybody."""
    if slots:
        with get_client(sync_client=True) as client:
            for slot in slots:
                client.upsert_global_concurrency_limit_by_name(LIMIT_PREFIX + slot, limit=1)
