"""Orders: accepted once, ended once."""

import pytest

from flenwheel_core.base.errors import BusyError, InputError, NotFoundError
from flenwheel_core.documents.orders import OrderEnded, OrderPicture, TrainOrder
from flenwheel_core.library import orders as module
from flenwheel_core.library.orders import Orders
from flenwheel_core.store import Store


def order(id_: str = "a1", **more: object) -> TrainOrder:
    content = {
        "id": id_,
        "trigger": "ohwx_char",
        "class_word": "cat",
        "kind": "subject",
        "recipe": "nano",
        "pictures": (OrderPicture(image="a" * 64),),
    }
    return TrainOrder.model_validate(content | more)


def test_the_same_order_again_is_the_same_order(tmp_path: object) -> None:
    orders = Orders(Store(f"file://{tmp_path}"))
    assert orders.accept(order()) and not orders.accept(order())
    with pytest.raises(InputError, match="idempotency key"):
        orders.accept(order(rank=4))
    assert orders.get("a1").order.rank is None and orders.open_orders() == {"a1": False}
    for id_ in ("nothing", "../../x", ""):
        with pytest.raises(NotFoundError):
            orders.get(id_)


def test_the_first_word_on_run_and_end_stands(tmp_path: object) -> None:
    orders = Orders(Store(f"file://{tmp_path}"))
    orders.accept(order())
    orders.hand("a1", "run-1")
    orders.hand("a1", "run-2")
    handed = orders.handed("a1")
    assert handed is not None and handed.flow_run == "run-1" and orders.open_orders() == {"a1": True}
    assert orders.end("a1", OrderEnded(state="cancelled")).state == "cancelled"
    assert orders.end("a1", OrderEnded(state="succeeded", model_url="s3://x")).state == "cancelled"
    assert orders.open_orders() == {}


def test_too_many_open_orders_are_refused_and_old_ones_are_not(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 2)
    orders = Orders(Store(f"file://{tmp_path}"))
    assert orders.accept(order("a1")) and orders.accept(order("a2"))
    with pytest.raises(BusyError):
        orders.accept(order("a3"))
    assert not orders.accept(order("a1")), "one that was accepted stays so"
    orders.end("a1", OrderEnded(state="cancelled"))
    assert orders.accept(order("a3"))


def test_a_failed_order_holds_no_place_until_it_begins_again(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 1)
    orders = Orders(Store(f"file://{tmp_path}"))
    orders.accept(order("a1"))
    orders.fail("a1", "no card")
    failed = orders.failed("a1")
    assert failed is not None and failed.message == "no card" and orders.open_orders() == {}
    assert orders.accept(order("a2"))
    orders.begin("a1")
    assert orders.failed("a1") is None and set(orders.open_orders()) == {"a1", "a2"}
    orders.begin("a1")  # begun once more is no harm
