"""All parts of a training at once on one machine, each on its card: `python -m tools.nano_training.together ...`.

Parts wait for each other's files. What was made lies in the layout of the shipped weights under `WORK/kept`, and in `--out` in a few files
of 15 MB with the ends of the logs; both are written again every minute, so a machine that is taken away leaves what there was.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flenwheel_core.models.embedded import weights_folder
from tools.nano_training.parcels import collect, pack

COLLECT_SECONDS = 60.0
LAST_SECONDS = 20.0
LATE_SECONDS = 60.0
LOG_CHARACTERS = 12_000
VLM_SHARE = 0.46
"""Of the time: the editor needs the finished vision-language model."""


@dataclass(frozen=True)
class Part:
    """One process of the training."""

    name: str
    card: int
    seconds: float
    init: Path | None = None


def parts_of(seconds: float, cards: int, *, fresh: bool) -> tuple[Part, ...]:
    """Which part learns on which card and for how long; `fresh` starts from random weights."""

    def start(folder: Path) -> Path | None:
        return None if fresh else folder

    layout = (
        Part("flux", 0, seconds, start(weights_folder("flux"))),
        Part("vlm", 1, seconds * VLM_SHARE, start(weights_folder("vlm"))),
        Part("editor", 1, seconds, start(weights_folder("editor"))),
        Part("siblings", 2, seconds),
        Part("embedder", 3, seconds, start(weights_folder("embedder"))),
        Part("reader", 3, seconds, start(weights_folder("reader"))),
    )
    codecs = (Part("vae", 2, seconds * 0.4), Part("qwen-vae", 3, seconds * 0.4)) if fresh else ()
    return tuple(Part(part.name, part.card % cards, part.seconds, part.init) for part in (*codecs, *layout))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs everything; returns how many parts failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.nano_training.together", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for data, models, checkpoints; may be lost")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is kept: weights, records, logs")
    parser.add_argument("--seconds", type=float, default=480, help="all of it, data included")
    parser.add_argument("--cards", type=int, default=1)
    parser.add_argument("--world", type=int, default=2)
    parser.add_argument("--characters", type=int, default=8000)
    parser.add_argument("--named", type=int, default=256)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--fresh", action="store_true", help="from random weights instead of the shipped ones")
    parser.add_argument("--only", nargs="*", help="only these parts")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    logs, kept = given.work / "logs", given.work / "kept"
    logs.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    shared = ["--data", str(given.work / "data"), "--work", str(given.work), "--world", str(given.world)]
    shared += ["--seed", str(given.seed), "--named", str(given.named)]

    def begin(name: str, card: int | None, *more: str) -> subprocess.Popen[bytes]:
        environment = dict(os.environ, OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "4"))
        if card is not None:
            environment["CUDA_VISIBLE_DEVICES"] = str(card)
        with (logs / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", "tools.nano_training", name, *shared, *more]
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

    def keep() -> list[str]:
        made = collect(given.work, kept, given.world)
        pack(kept, given.out, fresh=given.fresh)
        ends = [f"== {log.stem}\n{log.read_text(errors='replace')[-LOG_CHARACTERS:]}" for log in sorted(logs.iterdir())]
        (given.out / "logs.txt").write_text("\n".join(ends))
        return made

    running = {
        "data": begin("data", None, "--characters", str(given.characters), "--workers", str(given.workers)),
        "tokenizers": begin("tokenizers", None, "--device", "cpu"),
    }
    # The old data of an earlier run must be gone before others wait for the new one.
    while running["data"].poll() is None and not (given.work / "data" / "characters.npy").exists():
        time.sleep(0.2)
    for part in parts_of(given.seconds - LAST_SECONDS, given.cards, fresh=given.fresh):
        if given.only and part.name not in given.only:
            continue
        more = ["--seconds", str(part.seconds - (time.monotonic() - started)), "--device", given.device]
        more += ["--workers", str(max(1, given.workers // 4))]
        for flag, value in (("--init", part.init), ("--max-steps", given.max_steps), ("--batch", given.batch)):
            more += [] if value is None else [flag, str(value)]
        running[part.name] = begin(part.name, part.card, *more)
    failed: list[str] = []
    collected = started
    while running:
        for name, process in list(running.items()):
            if process.poll() is None:
                continue
            del running[name]
            print(f"{time.monotonic() - started:6.0f} s {name}: exit code {process.returncode}", flush=True)  # noqa: T201
            if process.returncode:
                failed.append(name)
        if "data" in failed:
            for process in running.values():
                process.terminate()
            break
        if time.monotonic() - started > given.seconds + LATE_SECONDS:  # it waits for a part that failed
            failed += running
            for process in running.values():
                process.terminate()
            break
        if time.monotonic() - collected > COLLECT_SECONDS:
            keep()
            collected = time.monotonic()
        time.sleep(0.5)
    made = keep()
    said = f"made {', '.join(made)}; failed: {', '.join(failed) or 'none'}"
    print(f"{time.monotonic() - started:6.0f} s {said}", flush=True)  # noqa: T201
    return len(failed)


if __name__ == "__main__":
    raise SystemExit(main())
