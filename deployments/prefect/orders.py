"""Hands orders of the training service to the Prefect server: each becomes one run, whoever hands it over and how often."""

from deployments.prefect.api import INTERACTIVE_QUEUE, PAGE, FlowRun, PrefectApi
from flenwheel_core.base.errors import StoreError
from flenwheel_core.base.ids import Json
from flenwheel_core.documents.orders import OrderEnded
from flenwheel_core.library.orders import MOST_STARTS, Orders
from tasks.share_names import QUEUE as SHARES

DEPLOYMENT = "train-lora/order"
QUEUE = "orders"
_AT_REST = ("CRASHED", "CANCELLED", "FAILED", "COMPLETED")
AT_ONCE = 2
"""Runs of orders that work at once: one holds the card while the other reads its pictures. A person may change it in the interface."""


def ensure_pool(api: PrefectApi, pool: str) -> None:
    """Makes a pool of process workers with its queues, where they are not there. What a person changed of them stays.

    Workers take from the queue of priority 1 first: shares of trainings that have their card already, what a person started, then what
    schedules began, then orders. The worker fills in the pool's template; made here, the worker and the deployments start side by side.
    """
    if api.send("GET", f"/work_pools/{pool}").status_code == 404:
        api.send("POST", "/work_pools/", {"name": pool, "type": "process"})
    queues = ((QUEUE, {"concurrency_limit": AT_ONCE}), (INTERACTIVE_QUEUE, {"priority": 1}), (SHARES, {"priority": 1}))
    for name, more in queues:
        if api.send("GET", f"/work_pools/{pool}/queues/{name}").status_code == 404:
            body: dict[str, Json] = {"name": name, **more}
            api.send("POST", f"/work_pools/{pool}/queues", body)


def hand_over(api: PrefectApi, orders: Orders, id_: str) -> str:
    """The run of an order: the one it has, or a new one. The server knows it by the order's id: a lost answer makes no second run."""
    handed = orders.handed(id_)
    if handed is not None:
        return handed.flow_run
    run = api.start(DEPLOYMENT, {"order": id_}, idempotency_key=f"order {id_}").id
    orders.hand(id_, run)
    return run


def keep_orders(api: PrefectApi, orders: Orders) -> list[str]:
    """Hands over what was accepted while the server was away, begins runs again that crashed, and writes down which orders failed or were
    cancelled in the Prefect interface. Returns a line for each. What is damaged of one order is raised when nothing is
    left to do of others."""
    done, runs = [], {}
    damage: StoreError | None = None
    for id_, handed in orders.open_orders().items():
        try:
            run = hand_over(api, orders, id_)
        except StoreError as error:
            damage = damage or error
            continue
        if not handed:
            done.append(f"order {id_}: handed over ({run})")
        runs[run] = id_
    standing = _standing(api, list(runs))
    for run, id_ in runs.items():
        try:
            line = _kept(api, orders, id_, run, standing.get(run))
        except StoreError as error:
            damage = damage or error
            continue
        if line:
            done.append(f"order {id_}: {line}")
    if damage is not None and not done:
        raise damage
    return done


def _kept(api: PrefectApi, orders: Orders, id_: str, run: str, found: FlowRun | None) -> str:
    """Does what the state of an order's run asks for; what it did, or nothing."""
    if found is not None and (found.state is None or found.state.type not in _AT_REST):
        return ""
    state = found.state if found is not None else None
    if state is not None and found is not None and state.type == "CRASHED" and found.run_count < MOST_STARTS:
        api.retry(run, force=False)
        return "its run crashed, and begins again"
    if orders.ended(id_) is not None:  # it has ended since it was listed
        return ""
    if state is not None and state.type == "CANCELLED":
        orders.end(id_, OrderEnded(state="cancelled"))
        return "its run was cancelled"
    orders.fail(id_, (state.message or state.name) if state is not None else "Prefect does not know its run any more.")
    return "its run failed; Retry in the Prefect interface begins it again"


def _standing(api: PrefectApi, runs: list[str]) -> dict[str, FlowRun]:
    """The runs by id, as the server knows them."""
    pages = [runs[start : start + PAGE] for start in range(0, len(runs), PAGE)]
    return {run.id: run for page in pages for run in api.runs(ids=page)}
