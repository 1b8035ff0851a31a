"""Who is promoted after a comparison, also in the first turn."""

import pytest

from flenwheel_core.documents.scores import Comparison
from flenwheel_core.evaluation.promotion.rule import Part, promotes, reasons, winner


def compared(*, promote: bool) -> Comparison:
    return Comparison(
        promote=promote,
        reasons=(),
        pass_rate_gain=0,
        identity_gain=0,
        diversity_gain=0,
        p_value=1,
        collapse_alarm=False,
    )


@pytest.mark.parametrize(
    ("promote", "first_turn", "promoted"),
    [
        (True, True, "challenger"),
        (True, False, "challenger"),
        (False, True, "champion"),
        (False, False, None),
        (None, True, "challenger"),
        (None, False, "challenger"),
    ],
)
def test_in_the_first_turn_one_becomes_champion_in_any_case(
    promote: bool | None, first_turn: bool, promoted: str | None
) -> None:
    comparison = None if promote is None else compared(promote=promote)
    assert winner(comparison, first_turn=first_turn) == promoted


def test_one_part_that_does_not_hold_keeps_the_challenger_back() -> None:
    good, bad = Part(True, "Better."), Part(False, "Worse.")
    assert promotes([good, good]) and not promotes([good, bad])
    assert reasons([good, bad]) == ("Better.", "Worse.")
