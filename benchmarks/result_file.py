"""Writes `benchmarks/results/NAME.json`: what was measured, on which machine, with which versions, when."""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flenwheel_core.nano.world.version import shipped_world

RESULTS = Path(__file__).parent / "results"
_VERSIONED = ("torch", "diffusers", "transformers", "peft", "bitsandbytes", "accelerate", "prefect", "polars", "pillow")

Row = Mapping[str, str | int | float | bool | None]


def write_result(
    name: str,
    rows: Sequence[Row],
    *,
    folder: Path = RESULTS,
    command: str | None = None,
    measured: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the result file of a benchmark. Every row has a `case` and figures with their unit in the name.

    `measured` is the content of the file whose rows these are, where nothing is measured anew: its date, machine and versions stand.
    """
    result: dict[str, Any] = {
        "benchmark": name,
        "command": command or command_line(_module(), sys.argv[1:]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        "rows": [{key: _round(value) for key, value in row.items()} for row in rows],
    }
    if measured is not None:
        result.update({key: measured[key] for key in ("date", "machine", "versions")})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(result_text(result))
    return path


def result_text(result: Mapping[str, Any]) -> str:
    """A result file as text: a row a line, so that a change of one figure is a change of one line, and files stay small."""
    head = json.dumps({key: value for key, value in result.items() if key != "rows"}, indent=1)
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in result["rows"])
    return f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n'


def write_part(name: str, rows: Sequence[Row], *, folder: Path = RESULTS, command: str | None = None) -> Path:
    """As `write_result`, for a benchmark that is run in parts on machines of one kind: rows of other cases stay in the file."""
    path = folder / f"{name}.json"
    earlier: list[Row] = json.loads(path.read_text())["rows"] if path.exists() else []
    new = {row["case"] for row in rows}
    return write_result(
        name, [*(row for row in earlier if row["case"] not in new), *rows], folder=folder, command=command
    )


def command_line(module: str, arguments: Sequence[str]) -> str:
    """The command, without the folder its result went to, and without those of its files: a path of one machine tells others nothing."""
    kept = [Path(one).name if one.startswith("/") else one for one in arguments]
    while "--out" in kept:
        place = kept.index("--out")
        del kept[place : place + 2]
    return " ".join(["python", "-m", module, *kept])


def machine() -> dict[str, str | int | float]:
    """Processor, cores, memory and card."""
    found: dict[str, str | int | float] = {
        "system": platform.system(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "processor": _processor(),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
        found["gpus"] = torch.cuda.device_count()
        found["gpu_memory_gib"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
    return found


def versions() -> dict[str, str]:
    """Versions of the libraries that matter, as far as installed, and the world that the shipped nano models live in."""
    found: dict[str, str] = {}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "nano_world": str(shipped_world())}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec is not None else Path(sys.argv[0]).as_posix()


def _round(value: str | int | float | bool | None) -> str | int | float | bool | None:
    return float(f"{value:.6g}") if isinstance(value, float) else value
