"""Orders and a real Prefect server: one run each, handed over whenever the server answers, and begun again after a crash."""

from pathlib import Path

import pytest

from benchmarks.kit.prefect_server import serve
from deployments.prefect.orders import AT_ONCE, QUEUE, ensure_pool, hand_over, keep_orders
from flenwheel_core.documents.orders import OrderEnded, OrderPicture, TrainOrder
from flenwheel_core.library.orders import Orders
from flenwheel_core.store import Store


@pytest.mark.slow
def test_each_order_becomes_one_run_whoever_hands_it_over(tmp_path: Path, prefect_database: Path) -> None:
    orders = Orders(Store((tmp_path / "store").as_uri()))
    for id_ in ("a1", "a2"):
        picture = (OrderPicture(image="a" * 64),)
        orders.accept(
            TrainOrder(id=id_, trigger="ohwx", class_word="cat", kind="subject", recipe="nano", pictures=picture)
        )
    with serve(tmp_path, database=prefect_database) as server:
        api = server.api
        server.made("/work_pools/", {"name": "flenwheel", "type": "process"})
        ensure_pool(api, "flenwheel")
        queue = api.call("GET", f"/work_pools/flenwheel/queues/{QUEUE}")
        assert isinstance(queue, dict) and queue["concurrency_limit"] == AT_ONCE
        api.call("PATCH", f"/work_pools/flenwheel/queues/{QUEUE}", {"concurrency_limit": 7})
        ensure_pool(api, "flenwheel")
        queue = api.call("GET", f"/work_pools/flenwheel/queues/{QUEUE}")
        assert isinstance(queue, dict) and queue["concurrency_limit"] == 7, "a person's limit stays"
        flow = server.made("/flows/", {"name": "train-lora"})
        server.made("/deployments/", {"name": "order", "flow_id": flow, "enforce_parameter_schema": False})
        first = hand_over(api, orders, "a1")
        # The answer was lost: the run is there, and nobody wrote it down.
        (tmp_path / "store" / "documents" / "orders" / "a1" / "run.json").unlink()
        assert hand_over(api, orders, "a1") == first
        lines = keep_orders(api, orders)
        assert len(lines) == 1 and lines[0].startswith("order a2: handed over") and keep_orders(api, orders) == []
        assert {run.parameters["order"] for run in api.runs()} == {"a1", "a2"} and len(api.runs()) == 2
        api.set_state(first, "CRASHED", "Crashed", "its process is gone", force=True)
        assert keep_orders(api, orders) == ["order a1: its run crashed, and begins again"]
        state = api.run(first).state
        assert state is not None and state.type == "SCHEDULED"
        orders.end("a1", OrderEnded(state="cancelled"))
        api.set_state(first, "CRASHED", "Crashed", "its process is gone", force=True)
        assert keep_orders(api, orders) == [], "what has ended is left alone"
        second = hand_over(api, orders, "a2")
        api.set_state(second, "FAILED", "Failed", "no card", force=True)
        assert keep_orders(api, orders) == ["order a2: its run failed; Retry in the Prefect interface begins it again"]
        failed = orders.failed("a2")
        assert failed is not None and failed.message == "no card" and orders.open_orders() == {}
        assert keep_orders(api, orders) == []
        api.retry(second)
        orders.begin("a2")
        assert keep_orders(api, orders) == [] and orders.open_orders() == {"a2": True}
        api.set_state(second, "CANCELLED", "Cancelled", "", force=True)
        assert keep_orders(api, orders) == ["order a2: its run was cancelled"]
        ended = orders.ended("a2")
        assert ended is not None and ended.state == "cancelled"
