"""What it costs to decode pictures in processes of their own: `python -m benchmarks.speed.decoding`.

An ordinary folder of 12-megapixel JPEGs, half of them turned by their EXIF, scaled to 2048 px as ingest does: once in this process, as it
would be without limits of time and memory, once through the decoders, one after the other and two at a time. The pixels are compared.
"""

import argparse
import io
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.result_file import Row, write_result
from flenwheel_core.images.decode import decode
from flenwheel_core.images.decoders import shared_decoders
from flenwheel_core.images.reading import Limits, read_picture

SIZE = (4000, 3000)
LIMITS = Limits(maximum_side_px=2048)
AT_ONCE = 2


def photo(seed: int) -> bytes:
    """A JPEG of 12 megapixels and some 3 MiB."""
    random = np.random.default_rng(seed)
    image = Image.fromarray(random.integers(0, 256, (300, 400, 3), dtype=np.uint8)).resize(
        SIZE, Image.Resampling.BICUBIC
    )
    exif = Image.Exif()
    exif[0x0112] = 6 if seed % 2 else 1
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, exif=exif)
    return buffer.getvalue()


def here(photos: Sequence[bytes]) -> list[bytes]:
    """In this process."""
    return [read_picture(data, "a.jpg", LIMITS).image.tobytes() for data in photos]


def apart(photos: Sequence[bytes]) -> list[bytes]:
    """In decoders, one after the other."""
    return [decode(data, "a.jpg", LIMITS).image.tobytes() for data in photos]


def apart_ahead(photos: Sequence[bytes]) -> list[bytes]:
    """In decoders, two at a time, as ingest does."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(lambda data: decode(data, "a.jpg", LIMITS).image.tobytes(), photos))


def measure(photos: Sequence[bytes], repeats: int) -> list[Row]:
    """A row a way; the fastest of several runs, taken in turns."""
    ways: dict[str, Callable[[Sequence[bytes]], list[bytes]]] = {
        "in this process": here,
        "in decoders": apart,
        "in decoders, two at a time": apart_ahead,
    }
    apart(photos[:1])
    wall: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    expected = here(photos)
    for _ in range(repeats):
        for name, way in ways.items():
            began, used = time.monotonic(), _processor_seconds()
            assert way(photos) == expected, f"{name} gives other pixels"
            wall[name].append(time.monotonic() - began)
            processor[name].append(_processor_seconds() - used)
    return [
        {
            "case": name,
            "pictures": len(photos),
            "pictures_per_second": len(photos) / min(wall[name]),
            "processor_seconds_per_picture": min(processor[name]) / len(photos),
        }
        for name in ways
    ]


def _processor_seconds() -> float:
    """Of this process and its decoders."""
    ticks = os.sysconf("SC_CLK_TCK")
    stats = [
        Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        for process in shared_decoders().process_ids
    ]
    return time.process_time() + sum(int(fields[11]) + int(fields[12]) for fields in stats) / ticks


def main() -> None:
    """Measures, and writes results/decoding.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    rows = measure([photo(seed) for seed in range(arguments.pictures)], arguments.repeats)
    for row in rows:
        print(row)
    print(write_result("decoding", rows))


if __name__ == "__main__":
    main()
