"""How good the shipped nano models are, on characters that none of them was trained on.

    python -m benchmarks.quality.nano_models [CASE ...] [--device cuda]

Cases: vae, text_to_image, lora, editor, speed_cpu (in nano_models_flux.py), embedder, captions. Without a case all are run;
rows of cases that are not run are kept from the last result file.
"""

import argparse
import importlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.result_file import RESULTS, Row, write_result

NAME = "nano_models"
CASES = {
    "vae": "benchmarks.quality.nano_models_flux",
    "text_to_image": "benchmarks.quality.nano_models_flux",
    "lora": "benchmarks.quality.nano_models_flux",
    "editor": "benchmarks.quality.nano_models_flux",
    "speed_cpu": "benchmarks.quality.nano_models_flux",
    "embedder": "benchmarks.quality.nano_models_eyes",
    "captions": "benchmarks.quality.nano_models_eyes",
}
"""Each case is a function of that name that takes a device and returns its rows; their `case` begins with the name."""


def measure(case: str, device: str, processes: int) -> list[Row]:
    """The rows of one case."""
    function: Callable[..., list[Row]] = getattr(importlib.import_module(CASES[case]), case)
    return function(device, processes=processes) if case == "editor" else function(device)


def kept_rows(cases: Sequence[str], folder: Path) -> list[Row]:
    """Rows of the last result file that are not of `cases`."""
    path = folder / f"{NAME}.json"
    if not path.exists():
        return []
    rows: list[Row] = json.loads(path.read_text())["rows"]
    return [row for row in rows if not str(row["case"]).startswith(tuple(cases))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.nano_models", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="what to measure; everything if none is given")
    parser.add_argument("--device", default="cpu", help="of the cases of quality; lora and speed_cpu run on the CPU")
    parser.add_argument("--processes", type=int, default=1, help="of the case editor, which draws one edit at a time")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    chosen = given.cases or list(CASES)
    if unknown := sorted(set(chosen) - CASES.keys()):
        parser.error(f"unknown case {unknown[0]}; known are {', '.join(CASES)}")
    for case in chosen:
        start = time.perf_counter()
        rows = [*kept_rows([case], given.out), *measure(case, given.device, given.processes)]
        order = list(CASES)
        rows.sort(key=lambda row: next(index for index, name in enumerate(order) if str(row["case"]).startswith(name)))
        path = write_result(NAME, rows, folder=given.out, command="python -m benchmarks.quality.nano_models")
        print(f"{case}: {time.perf_counter() - start:.0f} s, {path}")


if __name__ == "__main__":
    main()
