"""What a stage's record of a run says."""

from datetime import UTC, datetime

import pytest

from flenwheel_core.runner.stage_runs import StageRun


@pytest.mark.parametrize(
    ("slot", "slots"), [(None, ()), ("rack:0", ("rack:0",)), ("rack:0, rack:1", ("rack:0", "rack:1"))]
)
def test_a_run_on_several_cards_took_the_slot_of_each(slot: str | None, slots: tuple[str, ...]) -> None:
    line = StageRun(
        event="started", at=datetime.now(UTC), stage="train", request="a" * 64, host="rack", pid=7, slot=slot
    )
    assert line.slots == slots
