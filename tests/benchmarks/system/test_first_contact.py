"""How first contact counts, and that its cases and inputs are what they say."""

import importlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.system.first_contact import INPUTS, PARTS
from benchmarks.system.first_contact_file import TOTAL, merge_rows
from benchmarks.system.first_contact_schedule import began_after_its_end, missing_times
from benchmarks.system.public_cases import CASES, ROOT
from deployments.prefect.api import RunState

COUNTS = {"taken": 1, "refused": 1, "tracebacks": 0, "server_errors": 0, "hangs": 0, "silent_drops": 0}


def test_parts_are_measured_apart_and_counted_together(tmp_path: Path) -> None:
    merge_rows([{"case": "a, x", "inputs": 2, **COUNTS, "peak_gib": 0.5}], folder=tmp_path)
    merge_rows(
        [{"case": "b, y", "inputs": 3, **COUNTS, "peak_gib": 0.25}, {"case": "demo", "demo_seconds": 9.0}],
        folder=tmp_path,
    )
    path = merge_rows(
        [{"case": "a, z", "inputs": 5, **COUNTS}], folder=tmp_path, instead=lambda case: case.startswith("a, ")
    )
    rows = {row["case"]: row for row in json.loads(path.read_text())["rows"]}
    assert list(rows) == [TOTAL, "a, z", "b, y", "demo"]
    assert rows[TOTAL]["different_inputs"] == 8
    assert (rows[TOTAL]["inputs"], rows[TOTAL]["taken"], rows[TOTAL]["peak_gib"]) == (8, 2, 0.25)


def test_times_without_a_run_are_counted() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    times = [first + timedelta(seconds=60 * number, milliseconds=3) for number in (0, 1, 3)]
    assert missing_times(times, first, first + timedelta(seconds=239), 60) == 1
    assert missing_times(times, first, first + timedelta(seconds=241), 60) == 2


@pytest.mark.parametrize(
    ("states", "again"),
    [
        (["SCHEDULED", "PENDING", "RUNNING", "COMPLETED"], False),
        (["RUNNING", "SCHEDULED", "PENDING", "RUNNING", "COMPLETED"], False),
        (["RUNNING", "COMPLETED", "RUNNING"], True),
    ],
)
def test_a_run_that_begins_after_its_end_ran_twice(states: list[str], again: bool) -> None:
    history = [RunState(type=state, name=state, timestamp=f"{number:02d}") for number, state in enumerate(states)]
    assert began_after_its_end(list(reversed(history))) == again


@pytest.mark.parametrize("name", PARTS)
def test_the_same_seed_gives_the_same_inputs(name: str) -> None:
    module, _, kind = PARTS[name].partition(":")
    part = getattr(importlib.import_module(module), kind)()
    assert list(part.inputs(16, 7)) == list(part.inputs(16, 7)) and name in INPUTS


def test_every_test_of_a_public_case_is_there() -> None:
    named = {test for tests in CASES.values() for test in tests}
    missing = []
    for test in sorted(named):
        file, _, function = test.partition("::")
        path = ROOT / "tests" / file
        if not path.exists() or f"def {function}(" not in path.read_text():
            missing.append(test)
    assert missing == []
