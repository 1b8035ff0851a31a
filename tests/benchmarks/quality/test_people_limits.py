"""Limits are chosen on some people and looked at on others."""

import pytest

from benchmarks.quality.people_limits import (
    Faced,
    Turned,
    angle_rows,
    chosen_belief,
    chosen_limits,
    expression_rows,
    right_of_angles,
)


def test_the_limits_chosen_lie_in_the_middle_of_those_that_read_all_right() -> None:
    seen = [
        Turned(person, truth, turn)
        for person in range(4)
        for truth, turn in (("front", 10.0), ("half-left", -30.0), ("half-right", 44.0), ("profile-right", 70.0))
    ]
    front, half = chosen_limits(seen)
    assert 18 <= front <= 22 and 55 <= half <= 59
    assert all(right_of_angles(seen, front, half))
    assert right_of_angles([Turned(0, "front", None)], front, half) == [False]


def test_belief_is_the_lowest_from_which_most_are_right() -> None:
    sure = [Faced(0, "sad", "sad", 0.9)] * 9
    assert chosen_belief([*sure, *[Faced(0, "sad", "angry", 0.5)] * 9]) == pytest.approx(0.51)
    assert chosen_belief([Faced(0, "sad", "angry", 0.9)]) == 0.99
    assert chosen_belief(sure) == 0.3


def test_each_half_is_read_with_the_limits_of_the_other() -> None:
    turned = [Turned(person, "front", 15.0 if person % 2 else 25.0) for person in range(6)]
    first, second, both = angle_rows(turned)
    assert first["case"] == "held_out_angle_chosen_on_first_half" and first["right_share"] == 1.0
    assert second["front_below"] != first["front_below"] and both["pictures"] == 6
    faced = [Faced(person, "sad", "sad" if person % 4 < 2 else None, 0.7) for person in range(6)]
    rows = list(expression_rows(faced))
    assert rows[-1]["pictures"] == 6 and 0 < float(str(rows[-1]["known_share"])) < 1
