"""Does speed cost quality? The nano model trained on a card with each fast setting, beside bf16 without any of them.

The same held-out characters, pictures and seeds for every setting: the loss over the last third of training, and the
identity of what the LoRA draws. Each setting runs in a process of its own, all on one card.

    python -m benchmarks.quality.nano_fast_settings --characters 4 --out benchmarks/results
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.quality.nano_learning import World, learn, nano_recipe
from benchmarks.result_file import Row, write_result
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.flux1.loading import FluxModel

REFERENCE = "bf16"
SETTINGS: dict[str, dict[str, object]] = {
    REFERENCE: {"weight_format": "bf16", "compile": False},
    "bf16_compiled_recorded": {"weight_format": "bf16"},
    "fp8_compiled_recorded": {"weight_format": "fp8"},
    "nf4_compiled_recorded": {"weight_format": "nf4"},
}
FIGURES = ("late_loss", "identity_cosine", "class_kept", "angle_accuracy", "expression_accuracy")


def late_loss(folder: Path) -> float:
    """Mean loss over the last third of the newest run below `folder`."""
    file = max(folder.glob("*/loss.jsonl"), key=lambda path: path.stat().st_mtime)
    losses = [json.loads(line)["loss"] for line in file.read_text().splitlines() if "loss" in line]
    return statistics.fmean(losses[-max(1, len(losses) // 3) :])


def run_setting(name: str, characters: int, changes: dict[str, object]) -> None:
    """Prints a line for each character."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        if torch.cuda.is_available():
            world.model = FluxModel(weights_folder("flux"), "nano", torch.device("cuda", 0), torch.bfloat16, 100.0)
        for number in range(characters):
            row, _ = learn(world, number, nano_recipe(SETTINGS[name] | changes))
            print("row " + json.dumps({**row, "late_loss": late_loss(Path(folder))}), flush=True)


def summary(name: str, rows: list[Row], reference: list[Row]) -> Row:
    """Means over the characters, and the mean difference from the reference with its standard error."""
    result: dict[str, str | int | float | bool | None] = {"case": name, "characters": len(rows)}
    for figure in FIGURES:
        values = [float(row[figure] or 0) for row in rows]
        result[figure] = statistics.fmean(values)
        pairs = list(zip(values, (float(row[figure] or 0) for row in reference), strict=False))
        if name != REFERENCE and len(pairs) > 1:
            differences = [one - other for one, other in pairs]
            result[f"{figure}_difference"] = statistics.fmean(differences)
            result[f"{figure}_standard_error"] = statistics.stdev(differences) / len(differences) ** 0.5
    result["train_seconds"] = statistics.median(float(row["seconds"] or 0) for row in rows)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--characters", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--changes", default="{}", help="changes to the recipe for every setting, JSON")
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.setting:
        run_setting(arguments.setting, arguments.characters, json.loads(arguments.changes))
        return
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.quality.nano_fast_settings"]
    command += ["--characters", str(arguments.characters), "--changes", arguments.changes, "--setting"]
    found: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as folder:
        logs = {name: Path(folder) / f"{name}.txt" for name in SETTINGS}
        started = [subprocess.Popen([*command, name], stdout=logs[name].open("w")) for name in SETTINGS]
        while True:
            ended = all(process.poll() is not None for process in started)
            lines = {name: log.read_text().splitlines() for name, log in logs.items()}
            now = {name: [json.loads(line[4:]) for line in lines[name] if line.startswith("row ")] for name in SETTINGS}
            if now != found and all(now.values()):
                found = now
                rows = [summary(name, found[name], found[REFERENCE]) for name in SETTINGS]
                write_result("nano_fast_settings", rows, folder=arguments.out)
            if ended:
                break
            time.sleep(1)


if __name__ == "__main__":
    main()
