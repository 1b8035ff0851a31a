"""Cards of other machines for one training: which ones are there, and the runs by which their workers take their shares."""

import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType, Worker
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.states import Cancelled, Cancelling

from flenwheel_core.base.errors import ResourceError, RetryableError
from flenwheel_core.base.settings import LIMIT_PREFIX, Settings
from flenwheel_core.library.machines import MachineCard, read_cards
from flenwheel_core.requests.base import StageRequest
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.meeting import Gathering, own_address
from flenwheel_core.store import Store
from tasks.share_names import ATTEMPT, DEPLOYMENT, QUEUE, SLOT

GATHER_SECONDS = 300.0
"""How long a training waits for machines that are not there, such as one that is just starting again."""
LOOK_SECONDS = 1.0
BEATS_A_LEASE = 4
"""Of a worker (`deployments/workspace/environment.py`)."""
END_SECONDS = 20.0
"""How long shares may take to end by themselves when their training has ended."""
PAGE = 200
"""The server gives no more at once."""


class OtherMachines:
    """The other machines of this pool that work: those whose workers beat while this one looks. One that died just now does not."""

    def __init__(
        self, settings: Settings, number: int, cards: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`number`: how many are wanted, with so many cards each. Raises ResourceError on a machine that works alone."""
        if settings.server_url is None:
            raise ResourceError(
                f"train.hosts asks for {number + 1} machines, and this one works alone.",
                remedy="Set train.hosts = 1 (train.gpus is for several cards of one machine), or make a cluster: docs/cluster.md.",
            )
        self._settings, self._number, self._cards, self._clock = settings, number, cards, clock
        self._store = Store(settings.store_url, settings.store_options)
        self._beats: dict[str, tuple[datetime | None, float]] = {}

    def chosen(self, seconds: float = GATHER_SECONDS) -> tuple[tuple[str, ...], ...]:
        """The slots to take of each of as many machines as are wanted, free ones first; that of the worker first.

        What machines wrote down is read at first, and again once a beat: one may join meanwhile. Raises RetryableError if there are too few
        for so long.
        """
        began = read = self._clock()
        every = self._settings.lease_seconds / BEATS_A_LEASE
        cards = read_cards(self._store)
        while True:
            if self._clock() - read > every:
                cards, read = read_cards(self._store), self._clock()
            found = self._there(cards, every)
            waited = self._clock() - began
            # Busy ones only when all had the time to beat.
            chosen = [slots for busy, slots in sorted(found) if not busy or waited > every]
            if len(chosen) >= self._number:
                return tuple(chosen[: self._number])
            if waited > seconds:
                raise RetryableError(
                    f"train.hosts asks for {self._number + 1} machines, and only {len(found) + 1} of the pool "
                    f"{self._settings.pool} are there.",
                    why=f"others that the server hears, and that name cards enough: "
                    f"{', '.join(slots[0] for _, slots in found) or 'none'}.",
                    remedy="Start their workers (flenwheel up --join), or lower train.hosts; then retry the run.",
                )
            time.sleep(LOOK_SECONDS)

    def _there(self, cards: Sequence[MachineCard], every: float) -> list[tuple[bool, tuple[str, ...]]]:
        """(is busy, slots to take) of each machine that works, by the freest of its workers."""
        with get_client(sync_client=True) as client:
            workers = _workers(client, self._settings.pool)
            busy = _active(client)
        for beating in workers:
            known = self._beats.get(beating.name)
            if known is None:
                self._beats[beating.name] = (beating.last_heartbeat_time, -math.inf)
            elif known[0] != beating.last_heartbeat_time:
                self._beats[beating.name] = (beating.last_heartbeat_time, self._clock())
        living = {name for name, (_, at) in self._beats.items() if self._clock() - at < 2 * every}
        found = []
        for card in cards:
            if card.name == self._settings.machine_name or card.pool != self._settings.pool:
                continue
            usable = []
            for worker in card.workers:
                slots = worker.slots_for(self._cards)
                if slots and worker.name in living:
                    usable.append((any(busy.get(LIMIT_PREFIX + slot, 0) for slot in slots), slots))
            if usable:
                found.append(min(usable))
        return found


def _workers(client: SyncPrefectClient, pool: str) -> list[Worker]:
    """All that the server ever heard of in this pool."""
    found: list[Worker] = []
    while True:
        page = client.read_workers_for_work_pool(pool, offset=len(found), limit=PAGE)
        found += page
        if len(page) < PAGE:
            return found


def _active(client: SyncPrefectClient) -> dict[str, int]:
    """How many hold each limit."""
    found: dict[str, int] = {}
    while True:
        page = client.read_global_concurrency_limits(PAGE, len(found))
        found |= {limit.name: limit.active_slots for limit in page}
        if len(page) < PAGE:
            return found


@contextmanager
def shared_attempt(
    settings: Settings, request: StageRequest, slots: Sequence[str], memory_level: int
) -> Iterator[Mapping[str, str]]:
    """One attempt at a training whose slots are held: shares are begun for all but the first, and are over at its end.

    Gives what the training's own process must be told.
    """
    assert isinstance(request, TrainRequest)
    told = Gathering(attempt=uuid.uuid4().hex, address=own_address(settings), slots=tuple(slots))
    runs: list[UUID] = []
    try:
        with get_client(sync_client=True) as client:
            deployment = _deployment(client, settings.pool)
            for place, slot in enumerate(slots[1:], start=1):
                asked = {
                    "training": request.key(),
                    ATTEMPT: told.attempt,
                    "place": place,
                    SLOT: slot,
                    "cards": request.recipe.gpus,
                    "memory_level": memory_level,
                    "character": request.character.name,
                }
                run = client.create_flow_run_from_deployment(
                    deployment.id, parameters=asked, name=f"share on {slot}", work_queue_name=QUEUE
                )
                runs.append(run.id)
        yield told.environment()
    finally:
        with suppress(httpx.HTTPError, PrefectException), get_client(sync_client=True) as client:
            _end(client, runs)


def _deployment(client: SyncPrefectClient, pool: str) -> DeploymentResponse:
    """The deployment of shares whose runs wait in this pool; that of another pool is a copy of the program's."""
    try:
        standing = client.read_deployment_by_name(DEPLOYMENT)
        if standing.work_pool_name == pool:
            return standing
        flow, _, _ = DEPLOYMENT.partition("/")
        with suppress(ObjectNotFound):
            return client.read_deployment_by_name(f"{flow}/{pool}")
        client.create_deployment(
            standing.flow_id,
            pool,
            work_pool_name=pool,
            work_queue_name=QUEUE,
            description=standing.description,
            tags=standing.tags,
            entrypoint=standing.entrypoint,
            pull_steps=standing.pull_steps,
            job_variables=standing.job_variables,
            parameter_openapi_schema=standing.parameter_openapi_schema,
            enforce_parameter_schema=standing.enforce_parameter_schema,
        )
        return client.read_deployment_by_name(f"{flow}/{pool}")
    except ObjectNotFound as error:
        raise ResourceError(
            f"The Prefect server has no deployment {DEPLOYMENT}.",
            why="its program is older than this machine's.",
            remedy="Start `flenwheel up --server` of the same version.",
        ) from error


def _end(client: SyncPrefectClient, runs: Sequence[UUID]) -> None:
    """Shares end with their training; one that does not, because its machine is gone or it never began, is cancelled."""
    end = time.monotonic() + END_SECONDS
    left = list(runs)
    while left:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=left)))
        states = {run.id: run.state for run in found if run.state is not None and not run.state.is_final()}
        left = list(states)
        late = time.monotonic() > end
        for id_, state in states.items():
            if late or state.type == StateType.SCHEDULED:
                works = state.type in (StateType.RUNNING, StateType.CANCELLING)
                client.set_flow_run_state(id_, Cancelling() if works else Cancelled())
        if late:
            return
        time.sleep(LOOK_SECONDS)
