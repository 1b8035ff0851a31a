"""What grows with the batch when a LoRA learns on a Qwen-VL: the grid of `flenwheel vl memory`, at full size with random weights.

    python -m benchmarks.speed.vl_memory --model qwen2.5-vl-7b --seconds 200
    python -m benchmarks.speed.vl_memory --model tiny-qwen3 --out /tmp/results      # try the code on a CPU

    python -m benchmarks.speed.vl_memory --plot      # draws docs/images/vl_memory.png from the file

Rows of cases that an earlier run in the same folder has measured stay; `--only` names the cases to measure. `--foretell` measures
nothing: it writes what the plan of today says beside what was measured.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.result_file import RESULTS, write_part, write_result
from benchmarks.speed.edit_world import set_cap
from benchmarks.speed.vl_step import TINY
from benchmarks.speed.vl_world import CONFIGS, geometry, random_lab
from flenwheel_core.base.errors import ResourceError
from flenwheel_core.models.qwen_vl.batch_memory import GRID, MemoryRow, foretold, growth
from flenwheel_core.models.qwen_vl.memory_plot import plot_memory

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "vl_memory.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", choices=CONFIGS, default="qwen2.5-vl-7b")
    parser.add_argument(
        "--only", nargs="*", help="names of cases, such as b4_r64; all that are not measured yet if left out"
    )
    parser.add_argument("--seconds", type=float, default=200.0, help="begin no further case after so long")
    parser.add_argument("--card-gib", type=float, help="imitate a card of this size: what does not fit is a row")
    parser.add_argument(
        "--foretell", action="store_true", help="measure nothing, only write the plan's predictions anew"
    )
    parser.add_argument(
        "--plot", action="store_true", help="measure nothing, only draw the picture of the documentation"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.foretell:
        foretell(arguments.out)
        return
    if arguments.plot:
        PICTURE.write_bytes(picture(arguments.out, arguments.model))
        return
    began = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    set_cap(arguments.card_gib)
    path = arguments.out / "vl_memory.json"
    old: list[MemoryRow] = json.loads(path.read_text())["rows"] if path.exists() else []
    known = {row["case"] for row in old if row.get("model") == arguments.model}
    cap = f"{arguments.card_gib:g}gib_" if arguments.card_gib else ""
    prefix = f"{arguments.model}_{cap}"
    small = arguments.model.startswith("tiny")
    wanted = [
        case for case in GRID if (case.name in arguments.only if arguments.only else prefix + case.name not in known)
    ]
    lab = random_lab(arguments.model, device, "nf4")
    print(f"[{time.monotonic() - began:6.1f}] {len(wanted)} cases", flush=True)
    rows: list[MemoryRow] = [row for row in old if row.get("model") == arguments.model and not _grown(row)]
    for case in wanted:
        if time.monotonic() - began > arguments.seconds:
            break
        row = lab.row(replace(case, **TINY, batch=min(case.batch, 2)) if small else case)  # type: ignore[arg-type]
        made: MemoryRow = {**row, "case": prefix + case.name, "model": arguments.model, "card_gib": arguments.card_gib}
        rows = [*(one for one in rows if one["case"] != made["case"]), made]
        print(f"[{time.monotonic() - began:6.1f}] {made}", flush=True)
        write_part("vl_memory", [made], folder=arguments.out)
    grown = [{**row, "case": f"{prefix}{row['case']}", "model": arguments.model} for row in growth(_of(rows, prefix))]
    if grown:
        write_part("vl_memory", grown, folder=arguments.out)
    for line in lab.notes:
        print(line)


def picture(folder: Path, model: str) -> bytes:
    """The plot of what grows with the batch, as `flenwheel vl memory` draws it. Raises ResourceError without matplotlib."""
    rows: list[MemoryRow] = json.loads((folder / "vl_memory.json").read_text())["rows"]
    drawn = plot_memory([row for row in rows if row.get("model") == model and row.get("card_gib") is None])
    if drawn is None:
        raise ResourceError("matplotlib is not installed.", remedy="pip install matplotlib")
    return drawn


def foretell(folder: Path) -> None:
    """Writes the plan's predictions anew, beside the figures that were measured."""
    old = json.loads((folder / "vl_memory.json").read_text())
    rows = [
        {**row, **foretold(row, geometry(row["model"]), row["weights"])} if "predicted_gib" in row else row
        for row in old["rows"]
    ]
    write_result("vl_memory", rows, folder=folder, command=old["command"], measured=old)


def _of(rows: list[MemoryRow], prefix: str) -> list[MemoryRow]:
    """The rows of one model and card, by the grid's own names."""
    return [
        {**row, "case": str(row["case"]).removeprefix(prefix)} for row in rows if str(row["case"]).startswith(prefix)
    ]


def _grown(row: MemoryRow) -> bool:
    return "gib_a_sample" in row


if __name__ == "__main__":
    main()
