"""The summary of turns: what is kept, and how an arm does beside the whole flywheel."""

import pytest

from benchmarks.quality.nano_flywheels_summary import summary
from benchmarks.result_file import Row


def row(arm: str, character: int, before: float, after: float, *, promoted: bool, turn: int = 1) -> Row:
    return {
        "arm": arm,
        "character": f"held-out-{character}",
        "turn": turn,
        "pass_rate": after,
        "champion_pass_rate": before,
        "promoted": promoted,
        "corrections_per_100": 30.0 - 10 * turn,
    }


def test_an_arm_is_compared_on_the_characters_that_both_have() -> None:
    whole = [row("both_flywheels", number, 0.7, 0.9, promoted=True) for number in range(6)]
    arm = [row("no_review", number, 0.7, 0.6, promoted=False) for number in range(5)]
    first, second = summary([*whole, *arm])
    assert first["challenger_better_in_turn_1"] == 6 and first["p_value"] == pytest.approx(2 / 2**6)
    assert second["challenger_better_in_turn_1"] == 0 and second["challenger_worse_in_turn_1"] == 5
    # The challenger was not taken: what is lost is the difference from the first LoRA, which stays.
    assert second["compared"] == 5 and second["worse"] == 5 and second["lost_points"] == pytest.approx(20)
    assert second["lost_p_value"] == pytest.approx(2 / 2**5)


def test_corrections_are_compared_between_the_first_and_the_last_turn() -> None:
    rows = [row("both_flywheels", number, 0.7, 0.9, promoted=True, turn=turn) for number in range(6) for turn in (1, 2)]
    (only,) = summary(rows)
    assert only["corrections_per_100_first_turn"] == 20 and only["corrections_per_100_last_turn"] == 10
    assert only["corrections_p_value"] == pytest.approx(2 / 2**6)
    (one_turn,) = summary([one for one in rows if one["turn"] == 1])
    assert one_turn["corrections_p_value"] is None, "there is nothing to compare with"
