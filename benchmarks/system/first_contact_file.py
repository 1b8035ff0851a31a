"""The one result file of `first_contact`: its parts are measured by scripts of their own, and each brings its rows up to date."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.result_file import RESULTS, Row, write_result

NAME = "first_contact"
TOTAL = "hostile_inputs"
SUMMED = ("inputs", "taken", "refused", "tracebacks", "server_errors", "hangs", "silent_drops")


def merge_rows(
    rows: Sequence[Row], *, folder: Path = RESULTS, instead: Callable[[str], bool] = lambda _: False
) -> Path:
    """Rows take the place of those of the same case, and of those whose case is named by `instead`; the total is counted anew."""
    path = folder / f"{NAME}.json"
    standing: list[Row] = json.loads(path.read_text())["rows"] if path.exists() else []
    new = {row["case"] for row in rows}
    kept = [
        row for row in standing if row["case"] not in new and row["case"] != TOTAL and not instead(str(row["case"]))
    ]
    merged = sorted([*kept, *rows], key=lambda row: str(row["case"]))
    return write_result(NAME, [*_total(merged), *merged], folder=folder, command=f"python -m benchmarks.system.{NAME}")


def _total(rows: Sequence[Row]) -> list[Row]:
    """What all parts and doors got together; nothing before the first one was measured."""
    parts = [row for row in rows if "inputs" in row]
    if not parts:
        return []
    sums = {figure: sum(int(row[figure] or 0) for row in parts) for figure in SUMMED}
    most: dict[str, int] = {}
    for row in parts:
        part = str(row["case"]).partition(",")[0]
        most[part] = max(most.get(part, 0), int(row["inputs"] or 0))
    # Several doors of a part get the same inputs.
    sums["different_inputs"] = sum(most.values())
    return [{"case": TOTAL, **sums, "peak_gib": max(float(row.get("peak_gib") or 0) for row in parts)}]
