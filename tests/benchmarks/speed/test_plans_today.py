"""Today's memory plans, held to every stage that was measured on a card, in the way in which it ran."""

import json
from typing import Any

import pytest

from benchmarks.result_file import RESULTS
from benchmarks.speed.plans_today import NEAR, plans_today
from flenwheel_core.memory.training import RESERVE_GIB

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    measured = json.loads((RESULTS / "dress_rehearsal.json").read_text())["rows"]
    return [dict(row) for row in plans_today(measured)]


def test_every_family_and_kind_of_work_is_held_to_a_card(rows: Rows) -> None:
    cases = {row["case"] for row in rows}
    assert len(cases) >= 57
    for wanted in (
        "enrich_24gib_klein_rank16",
        "generate_24gib_klein_rank16",
        "edit_train_12gib_klein",
        "edit_compare_12gib_klein",
        "train_24gib_zimage_character",
        "generate_24gib_zimage_character",
        "train_24gib",
        "generate_12gib",
        "enrich_12gib_kontext",
        "edit_train_24gib_kontext",
        "enrich_24gib",
        "generate_16gib_qwen_image_character",
    ):
        assert wanted in cases


def test_every_plan_is_within_five_percent_of_what_was_reserved(rows: Rows) -> None:
    for row in rows:
        assert row["predicted_gib"] == pytest.approx(row["peak_reserved_gib"], rel=NEAR), row


def test_drawing_never_reserved_more_than_is_planned_and_training_no_more_than_is_left_free(rows: Rows) -> None:
    for row in rows:
        free = RESERVE_GIB if "train" in row["case"] else 0.0
        assert row["peak_reserved_gib"] <= row["predicted_gib"] + free, row


def test_the_file_holds_what_the_code_says(rows: Rows) -> None:
    kept = json.loads((RESULTS / "plans_today.json").read_text())["rows"]
    assert {row["case"]: row["predicted_gib"] for row in kept} == {
        row["case"]: pytest.approx(row["predicted_gib"], rel=1e-4) for row in rows
    }, "run python -m benchmarks.speed.plans_today"
