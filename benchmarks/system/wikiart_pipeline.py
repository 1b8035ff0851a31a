"""How fast paintings go through the filters, and what memory grows with: 80 000 rows in the schema of `huggan/wikiart`.

The rows are nano paintings; the pictures that labels let through are 1024 pixels a side, as JPEG. Labels are timed on half of the rows and
on all; pictures on all rows, of which the labels let through 400, 800, 1600 and 3200, so that a point differs from the next in decoded
pictures alone. Each run is a process of its own, so that its peak of memory is its own; decoders are processes besides, and the largest
of them is told.

    taskset -c 0,1 python -m benchmarks.system.wikiart_pipeline
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.kit.memory import descendants, memory_mib
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.base.settings import Settings
from flenwheel_core.datasets.choices import PaintingChoices
from flenwheel_core.datasets.select import by_labels, select
from flenwheel_core.datasets.sources import open_paintings
from flenwheel_core.images.decoders import close_decoders
from flenwheel_core.nano.paintings import painter_name, painting, row, write_parquet

NAME = "wikiart_pipeline"
FILES, PAINTERS, DISTINCT, SIDE = 8, 8, 24, 1024
SHARES = (1, 2, 4, 8)
"""Painters whose pictures are let through, of all: each has as many as the others."""
CHOICES = PaintingChoices(style="Impressionism", died_by=None, per_artist=100_000, genre_share=1.0, minimum_side_px=768)


def write_rows(folder: Path, rows: int, decoded: int) -> None:
    """`rows` paintings in eight files; every so many is an impressionist one of full size."""
    small = row(painting(1, 0), artist=1, genre=0, style=1, name="small.jpg")
    large = [np.asarray(painting(1 + index % PAINTERS, index, 512).resize((SIDE, SIDE))) for index in range(DISTINCT)]
    every, made = rows // decoded, 0
    for file in range(FILES):
        content = []
        for index in range(rows // FILES):
            if (file * (rows // FILES) + index) % every or made == decoded:
                content.append({**small, "artist": 1 + index % PAINTERS, "genre": index % 3})
                continue
            # Turned round and rolled: another picture of as many bytes, in less time than painting one takes.
            pixels = np.roll(np.rot90(large[made % DISTINCT], made // DISTINCT % 4), 37 * (made // DISTINCT // 4), 1)
            content.append(
                row(Image.fromarray(pixels), artist=1 + made % PAINTERS, genre=made % 3, style=0, name=f"{made}.jpg")
            )
            made += 1
        write_parquet(folder / f"train-{file:05d}-of-{FILES:05d}.parquet", content, artists=PAINTERS)


def measured(folder: Path, step: str) -> dict[str, float]:
    """Seconds, pictures and peak memory of one step in this process.

    `step` is `labels:FILES`, or `pictures:PAINTERS`, of which all files are read.
    """
    name, _, share = step.partition(":")
    paths = sorted(folder.glob("*.parquet"))[: int(share) if name == "labels" else FILES]
    chosen = folder / f"first-{len(paths)}"
    chosen.mkdir(exist_ok=True)
    for path in paths:
        if not (chosen / path.name).exists():
            (chosen / path.name).symlink_to(path)
    source = open_paintings(str(chosen), Settings())
    began, worked = time.monotonic(), _core_seconds()
    if name == "labels":
        looked_at = len(by_labels(source, CHOICES))
    else:
        painters = tuple(painter_name(number) for number in range(int(share)))
        choices = CHOICES.model_copy(update={"artists": painters})
        looked_at = sum(painting.width is not None for painting in select(source, choices).paintings)
    seconds = time.monotonic() - began
    decoders = [memory_mib(pid) for pid in descendants()]
    close_decoders()
    core_seconds = _core_seconds() - worked
    return {
        "pictures": looked_at,
        "seconds": seconds,
        "pictures_per_second": looked_at / seconds,
        "core_seconds": core_seconds,
        "pictures_per_core_second": looked_at / core_seconds,
        "peak_mib": memory_mib(os.getpid()),
        "decoders": len(decoders),
        "decoder_peak_mib": max(decoders, default=0.0),
    }


def _core_seconds() -> float:
    """Of this process and of the decoders that ended."""
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in own)


def in_child(folder: Path, step: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.system.wikiart_pipeline", "--in", str(folder), "--step", step]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=80_000)
    parser.add_argument("--decoded", type=int, default=3200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--in", dest="folder", type=Path, help="measure a step on this folder, and print it")
    parser.add_argument("--step", default="labels")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        print(json.dumps(measured(arguments.folder, arguments.step)))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_rows(folder, arguments.rows, arguments.decoded)
        steps = [("labels_half", f"labels:{FILES // 2}"), ("labels", f"labels:{FILES}")]
        steps += [(f"pictures_{arguments.decoded * share // PAINTERS}", f"pictures:{share}") for share in SHARES]
        for case, step in steps:
            load = os.getloadavg()[0]
            rows.append(
                {"case": case, **in_child(folder, step), "load_before": load, "cores": len(os.sched_getaffinity(0))}
            )
            print(json.dumps(rows[-1]), flush=True)
    write_result(NAME, rows, folder=arguments.out)


if __name__ == "__main__":
    main()
