"""How fast screening is, and how much memory it takes: real faces at 512 px, and the nano world at 128 px.

Runs the stage `screen` itself, on pictures in a fresh store, each case in a process of its own.

    python -m benchmarks.quality.screening --share 1             # 400 faces and 10 000 nano pictures; about ten quiet minutes
    python -m benchmarks.quality.screening                       # a fifth of them
    python -m benchmarks.quality.screening --case nano_128 --images 200
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.result_file import Row, write_result
from flenwheel_core.base.progress import Progress, ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.identity.writing import writing_finder
from flenwheel_core.nano.world import HELD_OUT_FROM, make_character, make_view, render
from flenwheel_core.recipes.screening import IngestRecipe, ScreeningRecipe
from flenwheel_core.requests.ingest import IngestRequest, SourceFile
from flenwheel_core.requests.screen import ScreenRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.ingest import ingest
from flenwheel_core.stages.screen import screen
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png, save_picture

IMAGES = {"faces_512": 400, "nano_128": 10_000}
GIB = 2**20
"""ru_maxrss counts KiB."""


def pictures(case: str, number: int) -> Iterator[Image.Image]:
    """Different pictures of one character. Faces: a photograph that ships with scikit-image, cut and toned differently."""
    random = np.random.default_rng(7)
    if case == "nano_128":
        hero = make_character(HELD_OUT_FROM + 700)
        for index in range(number):
            yield render(hero, make_view(index))
        return
    from skimage import data

    photo = Image.fromarray(data.astronaut())
    for _ in range(number):
        left, top = (int(value) for value in random.integers(0, 90, size=2))
        side = int(random.integers(380, 420))
        view = photo.crop((left, top // 3, left + side, top // 3 + side)).rotate(float(random.uniform(-12, 12)))
        tone = float(random.uniform(0.7, 1.25))
        yield view.resize((512, 512), Image.Resampling.BICUBIC).point(lambda value, tone=tone: int(value * tone))


def run_case(case: str, number: int, verifier: str) -> Row:
    """Ingests 12 references, stores `number` candidates, and times the screening of them."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(workspace=Path(folder), gpu="cpu")
        store = Store(settings.store_url)
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        context = StageContext(store, settings, scratch, Progress("screen", lambda _: None), 0, threading.Event())
        kind = "person" if case == "faces_512" else "subject"
        character = CharacterRef(name="hero", trigger="ohwx_char", class_word="person", kind=kind)
        made = pictures(case, number + 12)
        files = tuple(
            SourceFile(name=f"{index}.png", digest=store.put_blob(encode_png(next(made), {}))) for index in range(12)
        )
        recipe = IngestRecipe(duplicate_bits=0)
        known = ingest(IngestRequest(character=character, files=files, recipe=recipe, verifier=verifier), context)
        assert known.fingerprint is not None, known
        records = [_record(store, image, index) for index, image in enumerate(made)]
        request = ScreenRequest(
            character=character,
            images=store.put_images(records),
            references=known.sources,
            fingerprint=known.fingerprint,
            verifier=verifier,
            writing_finder=writing_finder(verifier, ScreeningRecipe().writing_unsure_above),
            recipe=ScreeningRecipe(),
        )
        del records
        memory: list[tuple[int, float]] = []
        context = replace(context, progress=Progress("screen", partial(note_memory, memory), interval_seconds=0))
        began = time.perf_counter()
        result = screen(request, context)
        seconds = time.perf_counter() - began
    cores = len(os.sched_getaffinity(0))
    # Workers are all alike: the largest one stands for each of them.
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (cores if kind == "person" else 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + workers
    return {
        "case": case,
        "images": number,
        "seconds": seconds,
        "images_per_second": number / seconds,
        "images_per_second_core": number / seconds / cores,
        "peak_gib": peak / GIB,
        "growth_kib_per_image": growth_kib(memory, number),
        "passed": result.passed,
        "unsure": result.unsure,
        "failed": result.failed,
    }


def resident_gib() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def note_memory(memory: list[tuple[int, float]], event: ProgressEvent) -> None:
    """Keeps how many pictures are done and the memory at that moment."""
    memory.append((event.done, resident_gib()))


def growth_kib(memory: Sequence[tuple[int, float]], number: int) -> float | None:
    """What each picture of the second half added: buffers are full by then, so what still grows would grow for ever.

    None if there were too few pictures to tell.
    """
    later = [(done, gib) for done, gib in memory if done >= number / 2]
    (first, before), (last, after) = later[0], later[-1]
    return (after - before) * GIB / (last - first) if last > first else None


def _record(store: Store, image: Image.Image, index: int) -> ImageRecord:
    record = ImageRecord(
        digest="0" * 64,
        width=image.width,
        height=image.height,
        kind=ImageKind.ENRICHED,
        stage="enrich",
        request="0" * 64,
        item=str(index),
        labels=Labels(),
    )
    return save_picture(store, image, record)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--case", choices=sorted(IMAGES))
    parser.add_argument("--images", type=int)
    parser.add_argument("--share", type=float, default=0.2, help="of the full number of pictures")
    parser.add_argument("--nano-verifier", default="nano")
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    if given.case is not None:
        verifier = "face" if given.case == "faces_512" else given.nano_verifier
        print(json.dumps(run_case(given.case, given.images or IMAGES[given.case], verifier)))
        return
    rows = []
    # A tenth of the pictures first: if memory is flat, the peak hardly grows.
    for case, number in IMAGES.items():
        for name, share in ((f"{case}_tenth", given.share / 10), (case, given.share)):
            command = [
                sys.executable,
                "-m",
                "benchmarks.quality.screening",
                "--case",
                case,
                "--images",
                str(int(number * share)),
            ]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            rows.append({**json.loads(output.splitlines()[-1]), "case": name})
            print(rows[-1], flush=True)
    write_result("screening", rows, **({"folder": given.out} if given.out else {}))


if __name__ == "__main__":
    main()
