"""What the turns of `nano_flywheels` say together: each arm for itself, and beside the whole flywheel on the same characters.

python -m benchmarks.quality.nano_flywheels_summary WHOLE.json ARMS.json     # one result file of runs that went side by side
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.statistics import sign_flip_test

TARGET_PASS_RATE = 0.8
WHOLE = "both_flywheels"


def summary(rows: Sequence[Row]) -> list[Row]:
    """A row an arm: challengers that beat the first LoRA, what was kept, corrections in the first and the last turn, and the paired
    difference from the whole flywheel after the first turn. The tests flip signs over characters, two-sided."""
    found: list[Row] = []
    first_of = {arm: _turn(rows, arm, 1) for arm in dict.fromkeys(str(row["arm"]) for row in rows)}
    for arm, first in first_of.items():
        turns = sorted({int(row["turn"] or 0) for row in rows if row["arm"] == arm})
        last = _turn(rows, arm, turns[-1])
        gains = _gains(first)
        found.append(
            {
                "case": f"summary {arm}",
                "arm": arm,
                "turns": len(turns),
                "characters": len(first),
                "challenger_better_in_turn_1": sum(gain > 0 for gain in gains),
                "better_of_10": sum(gain > 0 for gain in gains) if len(first) == 10 else None,
                "challenger_worse_in_turn_1": sum(gain < 0 for gain in gains),
                "p_value": sign_flip_test(gains),
                "longer_first_p_value": _longer(first),
                "champion_pass_rate_first_turn": _mean(first, "champion_pass_rate"),
                "same_steps_pass_rate_first_turn": _mean(first, "same_steps_pass_rate"),
                "longer_first_pass_rate_first_turn": _mean(first, "longer_first_pass_rate"),
                "equal_epochs_pass_rate_first_turn": _mean(first, "equal_epochs_pass_rate"),
                "pass_rate_first_turn": _mean(first, "pass_rate"),
                "pass_rate_last_turn": _mean(last, "pass_rate"),
                "kept_pass_rate_first_turn": _average([_kept(row) for row in first]),
                "kept_pass_rate_last_turn": _average([_kept(row) for row in last]),
                "lowest_kept_last_turn": min((kept for row in last if (kept := _kept(row)) is not None), default=None),
                "characters_at_target": sum((_kept(row) or 0) >= TARGET_PASS_RATE for row in last),
                "identity_first_turn": _mean(first, "identity"),
                "identity_last_turn": _mean(last, "identity"),
                "diversity_first_turn": _mean(first, "diversity"),
                "diversity_last_turn": _mean(last, "diversity"),
                "corrections_per_100_first_turn": _mean(first, "corrections_per_100"),
                "corrections_per_100_last_turn": _mean(last, "corrections_per_100"),
                "corrections_per_100_bare_last_turn": _mean(last, "corrections_per_100_bare"),
                "corrections_p_value": _corrections_fell(first, last),
                **beside_the_whole(first_of.get(WHOLE, []), first if arm != WHOLE else []),
            }
        )
    return found


def beside_the_whole(whole: Sequence[Row], arm: Sequence[Row]) -> Row:
    """How much lower an arm's pass rates are than the whole flywheel's, on the characters that both have.

    What is kept is the better of two LoRAs where there are two, picked on the pictures it is reported on; so the first LoRAs and the
    challengers are compared as well, each with its own kind.
    """
    found: dict[str, str | int | float | bool | None] = {}
    for name, rate in (("lost", _kept), ("first_lost", _first), ("challenger_lost", _challenger)):
        pairs = [(rate(mine), rate(own)) for mine, own in _paired(whole, arm)]
        lost = [mine - own for mine, own in pairs if mine is not None and own is not None]
        found[f"{name}_points"] = 100 * statistics.fmean(lost) if lost else None
        found[f"{name}_p_value"] = sign_flip_test(lost) if lost else None
        if name == "lost":
            found |= {"compared": len(lost), "worse": sum(points > 0 for points in lost)}
    return found


def _first(row: Row) -> float | None:
    return None if row["champion_pass_rate"] is None else float(row["champion_pass_rate"])


def _challenger(row: Row) -> float | None:
    return None if row["pass_rate"] is None else float(row["pass_rate"])


def _longer(rows: Sequence[Row]) -> float | None:
    known = [(row.get("longer_first_pass_rate"), row["champion_pass_rate"]) for row in rows]
    gains = [float(after) - float(before) for after, before in known if after is not None and before is not None]
    return sign_flip_test(gains) if gains else None


def _turn(rows: Sequence[Row], arm: str, turn: int) -> list[Row]:
    return [row for row in rows if row["arm"] == arm and row["turn"] == turn]


def _paired(first: Sequence[Row], second: Sequence[Row]) -> list[tuple[Row, Row]]:
    known = {row["character"]: row for row in first}
    return [(known[row["character"]], row) for row in second if row["character"] in known]


def _gains(rows: Sequence[Row]) -> list[float]:
    known = [(row["pass_rate"], row["champion_pass_rate"]) for row in rows]
    return [float(after) - float(before) for after, before in known if after is not None and before is not None]


def _kept(row: Row) -> float | None:
    """Pass rate of the LoRA that a person has after the turn."""
    rate = row["pass_rate"] if row["promoted"] or row["champion_pass_rate"] is None else row["champion_pass_rate"]
    return None if rate is None else float(rate)


def _corrections_fell(first: Sequence[Row], last: Sequence[Row]) -> float | None:
    pairs = [(a["corrections_per_100"], b["corrections_per_100"]) for a, b in _paired(first, last)]
    fell = [float(a) - float(b) for a, b in pairs if a is not None and b is not None]
    return sign_flip_test(fell) if fell and first is not last and first != last else None


def _mean(rows: Sequence[Row], figure: str) -> float | None:
    return _average([None if row.get(figure) is None else float(row[figure]) for row in rows])  # type: ignore[arg-type]


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def main() -> None:
    """Joins runs of one machine. Raises InputError for those of several, and for a turn that is there twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--name", default="nano_flywheels", help="of the result file")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = [json.loads(file.read_text()) for file in options.files]
    if any(one[key] != found[0][key] for one in found for key in ("machine", "versions")):
        raise InputError(
            "These runs cannot stand in one file.", why="they are of other machines, versions or nano worlds."
        )
    rows: list[Row] = [row for one in found for row in one["rows"] if not str(row["case"]).startswith("summary ")]
    if len({row["case"] for row in rows}) < len(rows):
        raise InputError(
            "A turn is there twice.", why="each counts once.", remedy="Give each file once, and each arm in one file."
        )
    turns = [row for row in rows if "character" in row]
    commands = "; ".join(dict.fromkeys(str(one["command"]) for one in found))
    write_result(options.name, [*rows, *summary(turns)], folder=options.out, command=commands, measured=found[0])


if __name__ == "__main__":
    main()
