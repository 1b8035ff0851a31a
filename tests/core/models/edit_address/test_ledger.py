"""What edits cost is counted in the store: by all machines together, and before anything is sent."""

from decimal import Decimal
from pathlib import Path

import pytest

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.models.edit_address.address import EditAddress
from flenwheel_core.models.edit_address.ledger import Ledger, NotChargedError
from flenwheel_core.store import Store


def ledger_of(tmp_path: Path, most: str = "1", **changes: object) -> Ledger:
    """As another machine of the same store has it."""
    said = {"_class_name": "ImageEditAddress", "url": "https://a.example/edits", "model": "one", "price": "0.25"}
    address = EditAddress.model_validate(said | changes)
    return Ledger(Store((tmp_path / "store").as_uri()), address, Decimal(most))


def test_machines_of_one_store_count_together(tmp_path: Path) -> None:
    here, there = ledger_of(tmp_path), ledger_of(tmp_path)
    for ledger in (here, there, here, there):
        with ledger.paying():
            pass
    assert here.spent == there.spent == Decimal("1.00") and here.left == 0
    with pytest.raises(ResourceError, match="one more edit costs") as caught, there.paying():
        pass
    assert "all machines of this store" in caught.value.why
    assert ledger_of(tmp_path, model="two").spent == 0


def test_what_was_free_is_taken_back_and_what_broke_is_not(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path)
    with pytest.raises(NotChargedError), ledger.paying():
        raise NotChargedError("busy")
    assert ledger.spent == 0
    with pytest.raises(ValueError, match="cut off"), ledger.paying():
        raise ValueError("cut off")
    assert ledger.spent == Decimal("0.25") == ledger_of(tmp_path).spent


def test_two_that_ask_at_the_same_moment_do_not_spend_more_than_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, add = ledger_of(tmp_path, "0.25"), ledger_of(tmp_path, "0.25"), Ledger._add

    def both(self: Ledger, amount: Decimal) -> None:
        """The other one writes between this one's look and its own line."""
        monkeypatch.setattr(Ledger, "_add", add)
        there._add(amount)
        add(self, amount)

    monkeypatch.setattr(Ledger, "_add", both)
    with pytest.raises(ResourceError), here.paying():
        pytest.fail("it was allowed")
    assert here.spent == Decimal("0.25"), "the other's edit alone"
