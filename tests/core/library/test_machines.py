"""What a machine of a cluster says of itself."""

from datetime import UTC, datetime
from pathlib import Path

from flenwheel_core.library.machines import MachineCard, WorkerCard, keep_card, read_cards
from flenwheel_core.store import Store


def test_a_worker_gives_as_many_cards_as_it_names() -> None:
    worker = WorkerCard(name="w", slots=("rack:0", "rack:1"))
    assert [worker.slots_for(count) for count in (1, 2, 3)] == [("rack:0",), ("rack:0", "rack:1"), ()]
    assert WorkerCard(name="w", slots=("rack:cpu",), on_processors=True).slots_for(4) == ("rack:cpu",)


def test_the_last_card_of_a_machine_stands(tmp_path: Path) -> None:
    store = Store(tmp_path.as_uri())
    for roles in (("worker",), ("worker", "studio")):
        card = MachineCard(name="rack", roles=roles, versions={}, at=datetime.now(UTC))
        keep_card(store, card)
    assert read_cards(store) == [card]
