"""A slot a card, by name: whoever uses a card takes its slot, whatever else is named."""

from pathlib import Path

import pytest

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.slots import cards_for, slots_for, slots_named, slots_offered


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def rack(gpu: str, cards: tuple[str, ...] = (), slot: str | None = None) -> Settings:
    return Settings(machine_name="rack", gpu=gpu, cards=cards, slot=slot)


def names(settings: Settings, count: int = 1) -> list[str]:
    return [slot.name for slot in slots_for(settings, count)]


@pytest.mark.parametrize(
    ("gpu", "cards", "count", "wanted"),
    [
        ("auto", (), 1, ["rack:0"]),
        ("auto", (), 2, ["rack:0", "rack:1"]),
        ("0,1", (), 1, ["rack:0"]),  # as a worker of card 0 alone
        ("0,1", (), 2, ["rack:0", "rack:1"]),
        ("3,1,2", (), 2, ["rack:1", "rack:3"]),
        ("1,1,0", (), 2, ["rack:0", "rack:1"]),
        ("1", ("0", "1"), 1, ["rack:1"]),
        ("0", ("0", "1"), 2, ["rack:0", "rack:1"]),
        ("1", ("0", "1"), 2, ["rack:0", "rack:1"]),
        ("2", ("0", "1", "2", "3"), 2, ["rack:2", "rack:3"]),
        ("3", ("0", "1", "2", "3"), 2, ["rack:0", "rack:3"]),
        ("cpu", (), 1, ["rack:cpu"]),
        ("cpu", (), 4, ["rack:cpu"]),
    ],
)
def test_work_takes_the_slot_of_every_card_that_it_uses(
    gpu: str, cards: tuple[str, ...], count: int, wanted: list[str]
) -> None:
    assert names(rack(gpu, cards), count) == wanted


def test_the_first_card_is_the_one_of_all_other_work() -> None:
    for settings in (rack("3,1"), rack("3", ("1", "3")), rack("3", ("3", "1"))):
        assert cards_for(settings, 2) == ("3", "1")
        assert settings.slot_name == "rack:3" and names(settings) == ["rack:3"]


def test_cards_that_the_driver_is_told_of_are_those_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    assert names(rack("auto")) == ["rack:2"] and names(rack("auto"), 2) == ["rack:2", "rack:3"]
    assert rack("auto").slot_name == "rack:2" and names(rack("1")) == ["rack:1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert names(rack("auto")) == ["rack:0"]


def test_everybody_takes_locks_in_one_order_and_one_lock_a_card() -> None:
    first, second = slots_for(rack("1,0"), 2), slots_for(rack("0", ("0", "1")), 2)
    assert first == second and len({slot.lock for slot in first}) == 2
    assert first[0].lock == rack("0").slot_lock and first[1].lock == rack("1").slot_lock
    assert [slot.limit for slot in first] == ["gpu:rack:0", "gpu:rack:1"]
    # A name of one's own that a file cannot tell from another's: held once, for nobody waits for himself.
    assert len(slots_for(rack("0,1", slot="rack-1"), 2)) == 1


def test_a_name_of_ones_own_is_the_first_cards() -> None:
    assert names(rack("0,1", slot="mine")) == ["mine"]
    assert sorted(names(rack("0,1", slot="mine"), 2)) == ["mine", "rack:1"]


def test_all_that_a_worker_names_is_shown() -> None:
    assert [slot.name for slot in slots_named(rack("1,0"))] == ["rack:0", "rack:1"]
    assert [slot.name for slot in slots_named(rack("auto"))] == ["rack:0"]
    assert [slot.name for slot in slots_named(rack("cpu"))] == ["rack:cpu"]


@pytest.mark.parametrize("cards", [(), ("1", "2"), ("0", "cpu")])
def test_more_cards_than_are_named_are_refused(cards: tuple[str, ...]) -> None:
    with pytest.raises(ResourceError, match=r"asks for 2 cards and this worker may use 1\.") as refused:
        slots_for(rack("0", cards), 2)
    assert "FLENWHEEL_GPU=0,1" in refused.value.message


@pytest.mark.parametrize(
    ("gpu", "cards", "count"),
    [
        ("0,1", (), 2),
        ("3,1,2", (), 2),
        ("1", ("0", "1"), 2),
        ("2", ("0", "1", "2", "3"), 3),
        ("cpu", (), 1),
        ("auto", (), 1),
    ],
)
def test_what_a_worker_offers_to_others_begins_with_what_its_own_work_takes(
    gpu: str, cards: tuple[str, ...], count: int
) -> None:
    settings = rack(gpu, cards)
    assert slots_offered(settings)[0] == settings.slot_name
    assert sorted(slots_offered(settings)[:count]) == sorted(names(settings, count))


def test_a_slot_with_a_name_of_its_own_is_offered_by_that() -> None:
    assert slots_offered(rack("0,1", slot="the fast one")) == ("the fast one", "rack:1")
