"""Rows of rehearsals that ran beside each other join the others, without displacing what was measured alone."""

import json
from pathlib import Path

import pytest

from benchmarks.result_file import Row
from benchmarks.speed.merge_rehearsals import main
from flenwheel_core.base.errors import InputError


def result(path: Path, *rows: Row, gpu: str = "H200", command: str = "python") -> Path:
    heading = {"benchmark": path.stem, "command": command, "date": "2026-01-01"}
    machine = {"machine": {"gpu": gpu}, "versions": {"torch": "2.11.0"}}
    path.write_text(json.dumps(heading | machine | {"rows": rows}))
    return path


def row(case: str, seconds: float, *, ended: bool = True, beside: int | None = 0) -> Row:
    made: dict[str, str | float | bool | int] = {"case": case, "item_seconds": seconds, "ended": ended}
    return made if beside is None else made | {"beside": beside}


def merged(into: Path, *files: Path) -> dict[str, float]:
    main([*map(str, files), "--into", str(into)])
    return {entry["case"]: entry["item_seconds"] for entry in json.loads(into.read_text())["rows"]}


def test_a_row_measured_alone_gives_way_only_to_another_one_or_if_it_did_not_end(tmp_path: Path) -> None:
    into = result(tmp_path / "dress_rehearsal.json", row("a", 1, beside=None), row("b", 1, ended=False), row("c", 1))
    lane = result(
        tmp_path / "lane.json", row("a", 2, beside=2), row("b", 2, beside=2), row("c", 2), row("d", 2, beside=2)
    )
    assert merged(into, lane) == {"a": 1, "b": 2, "c": 2, "d": 2, "a_beside": 2}
    again = result(tmp_path / "again.json", row("d", 3, beside=1), row("a", 3, beside=1), command="the last")
    assert merged(into, again) == {"a": 1, "b": 2, "c": 2, "d": 3, "a_beside": 3}
    assert json.loads(into.read_text())["command"] == "the last"
    assert json.loads(into.read_text())["benchmark"] == "dress_rehearsal"


def test_files_without_a_result_file_make_one(tmp_path: Path) -> None:
    first, second = (result(tmp_path / name, row(name, 1, beside=1)) for name in ("x.json", "y.json"))
    assert merged(tmp_path / "new.json", first, second) == {"x.json": 1, "y.json": 1}


def test_rows_of_different_cards_do_not_mix(tmp_path: Path) -> None:
    into = result(tmp_path / "dress_rehearsal.json", row("a", 1))
    with pytest.raises(InputError, match="cannot stand in one file"):
        merged(into, result(tmp_path / "lane.json", row("b", 2), gpu="A100"))
    assert len(json.loads(into.read_text())["rows"]) == 1
