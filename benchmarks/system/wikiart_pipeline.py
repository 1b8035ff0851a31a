"""How fast paintings go through the filters, and whether memory stays flat: 80 000 rows in the schema of `huggan/wikiart`.

The rows are nano paintings; the pictures that labels let through are 1024 pixels a side, as JPEG. Labels are timed on all rows, pictures
on those that are let through. Each run is a process of its own, so that its peak of memory is its own; decoders are processes besides.

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

from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.base.settings import Settings
from flenwheel_core.datasets.choices import PaintingChoices
from flenwheel_core.datasets.select import by_labels, select
from flenwheel_core.datasets.sources import open_paintings
from flenwheel_core.images.decoders import close_decoders
from flenwheel_core.nano.paintings import painting, row, write_parquet

NAME = "wikiart_pipeline"
FILES, PAINTERS, DISTINCT, SIDE = 8, 11, 24, 1024
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
    """Seconds, pictures and peak memory of one step in this process. `step` is labels, or pictures with a share of the files."""
    name, _, share = step.partition(":")
    paths = sorted(folder.glob("*.parquet"))[: int(share or FILES)]
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
        looked_at = sum(painting.width is not None for painting in select(source, CHOICES).paintings)
    seconds = time.monotonic() - began
    close_decoders()
    return {
        "pictures": looked_at,
        "seconds": seconds,
        "pictures_per_second": looked_at / seconds,
        "core_seconds": _core_seconds() - worked,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
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
    parser.add_argument("--decoded", type=int, default=800)
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
        for case, step in (("labels", "labels"), ("pictures_half", f"pictures:{FILES // 2}"), ("pictures", "pictures")):
            load = os.getloadavg()[0]
            rows.append(
                {"case": case, **in_child(folder, step), "load_before": load, "cores": len(os.sched_getaffinity(0))}
            )
            print(json.dumps(rows[-1]), flush=True)
    write_result(NAME, rows, folder=arguments.out)


if __name__ == "__main__":
    main()
