"""Joins what rehearsals measured that ran beside each other into one result file.

python -m benchmarks.speed.merge_rehearsals lane_24.json lane_16.json lane_12.json

Later files count before earlier ones, and all of them before what the result file holds; but a row that was measured alone keeps its
place, since its seconds are worth more: one that ran beside others then stands as CASE_beside, and replaces it only if it did not end.
`--leave-out` names rows of the files that are not taken: those that a fault of the program ended, once it is mended.
"""

import argparse
import json
from collections.abc import Collection, Sequence
from pathlib import Path

from benchmarks.result_file import RESULTS, Row, result_text
from flenwheel_core.base.errors import InputError


def main(argv: Sequence[str] | None = None) -> None:
    """Merges the files of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, default=RESULTS / "dress_rehearsal.json")
    parser.add_argument("--leave-out", nargs="*", default=[], metavar="CASE")
    arguments = parser.parse_args(argv)
    merge(arguments.files, arguments.into, leave_out=arguments.leave_out)


def merge(files: Sequence[Path], into: Path, *, leave_out: Collection[str] = ()) -> None:
    """`leave_out` names cases of `files`.

    Raises InputError if the files were not measured on one kind of card with one torch: they share one heading."""
    paths = [into, *files] if into.exists() else list(files)
    contents = [json.loads(path.read_text()) for path in paths]
    measured = {(content["machine"].get("gpu"), content["versions"].get("torch")) for content in contents}
    if len(measured) > 1:
        raise InputError(
            "These rehearsals cannot stand in one file.",
            why=f"they were measured on {' and '.join(f'{gpu} with torch {torch}' for gpu, torch in sorted(measured, key=str))}.",
            remedy="Name another file with --into.",
        )
    rows: dict[str, Row] = {}
    for path, content in zip(paths, contents, strict=True):
        for row in content["rows"]:
            if path != into and row["case"] in leave_out:
                continue
            case = _place(row, rows)
            rows[case] = {**row, "case": case}
    merged = {**contents[-1], "benchmark": into.stem, "rows": list(rows.values())}
    into.write_text(result_text(merged))


def _place(row: Row, rows: dict[str, Row]) -> str:
    """The case that a row takes among those that are there."""
    case = str(row["case"])
    old = rows.get(case)
    beside = bool(row.get("beside"))
    keeps = old is not None and bool(old["ended"]) and not old.get("beside")
    return f"{case}_beside" if beside and keeps else case


if __name__ == "__main__":
    main()
