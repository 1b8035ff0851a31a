"""Twenty kills of random processes at random instants: both turns end, and what they made is what it always is."""

import pytest

from benchmarks.system.chaos import run_chaos

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(900)]
KILLS = 20


def test_turns_survive_the_kill_of_anything() -> None:
    said: list[str] = []
    tally = run_chaos(
        KILLS, seed=7, mean_seconds=1.5, kills_a_pair=KILLS, minutes=5, say=said.append, import_ahead=False
    )
    assert tally.turns >= 4, said
    assert sum(tally.kills.values()) >= KILLS // 2, said
    found = (tally.lost_decisions, tally.stage_overlaps, tally.result_mismatches, tally.leaked_slots)
    assert found == (0, 0, 0, 0), said
