"""Hands orders of the training service to the Prefect server: each becomes one run, whoever hands it over and how often."""

from typing import cast

from deployments.prefect.api import PAGE, PrefectApi
from flenwheel_core.base.ids import Json
from flenwheel_core.library.orders import Orders

DEPLOYMENT = "train-lora/order"
QUEUE = "orders"
AT_ONCE = 2
"""Runs of orders that work at once: one holds the card while the other reads its pictures. A person may change it in the interface."""
MOST_STARTS = 20
"""How often a run that crashed is begun again by itself."""


def ensure_queue(api: PrefectApi, pool: str) -> None:
    """Makes the queue of orders, with its limit, if there is none."""
    if api.send("GET", f"/work_pools/{pool}/queues/{QUEUE}").status_code == 404:
        api.send("POST", f"/work_pools/{pool}/queues", {"name": QUEUE, "concurrency_limit": AT_ONCE})


def hand_over(api: PrefectApi, orders: Orders, id_: str) -> str:
    """The run of an order: the one it has, or a new one. The server knows it by the order's id: a lost answer makes no second run."""
    handed = orders.handed(id_)
    if handed is not None:
        return handed.flow_run
    run = api.start(DEPLOYMENT, {"order": id_}, idempotency_key=f"order {id_}").id
    orders.hand(id_, run)
    return run


def keep_orders(api: PrefectApi, orders: Orders) -> list[str]:
    """Hands over what was accepted while the server was away, and begins runs again that crashed; returns a line for each."""
    done, runs = [], {}
    for id_, handed in orders.open_orders().items():
        run = hand_over(api, orders, id_)
        if not handed:
            done.append(f"order {id_}: handed over ({run})")
        runs[run] = id_
    for run in _crashed(api, list(runs)):
        api.retry(run, force=False)
        done.append(f"order {runs[run]}: its run crashed, and begins again")
    return done


def _crashed(api: PrefectApi, runs: list[str]) -> list[str]:
    found = []
    for start in range(0, len(runs), PAGE):
        wanted: dict[str, Json] = {"id": {"any_": runs[start : start + PAGE]}, "state": {"type": {"any_": ["CRASHED"]}}}
        answer = api.call("POST", "/flow_runs/filter", {"flow_runs": wanted, "limit": PAGE})
        for item in cast("list[dict[str, Json]]", answer):
            if int(cast(int, item.get("run_count") or 0)) < MOST_STARTS:
                found.append(str(item["id"]))
    return found
