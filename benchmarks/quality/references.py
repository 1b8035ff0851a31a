"""Is the character kept better where an edit is given more pictures? The same edits with 1, 2, 3 and 4 references, in the nano world.

    python -m benchmarks.quality.references [--editor nano_klein] [--count 60] [--device cuda]
    python -m benchmarks.quality.references --time FOLDER   # seconds an edit at 1 MP, of a full-size editor on a card

Further references are chosen as a turn's plan chooses them: one that shows the angle that is asked for, then other angles. Each edit is
of a character of its own, which no nano model has seen. Identity is the cosine to a picture of the true result.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.result_file import RESULTS, Row, write_part
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.statistics import bootstrap_interval, sign_flip_test
from flenwheel_core.documents.images import ANGLES, Sampler
from flenwheel_core.models.protocols import EditJob
from flenwheel_core.models.references import ModelRole, resolve_model
from flenwheel_core.models.registry import most_pictures, open_editor
from flenwheel_core.nano.measure import NanoEmbedder, NanoReader, Vectors, facts_of
from flenwheel_core.nano.world import (
    HELD_OUT_FROM,
    View,
    instruction,
    make_character,
    make_edit,
    make_view,
    parse_caption,
    render,
)
from flenwheel_core.recipes.loading import load_recipe

NAME = "references"
FIRST = HELD_OUT_FROM + 12_000
COUNT = 60
THREADS = 2


def further_views(view: View, target: View, number: int) -> list[View]:
    """Other pictures of the character: the target's angle first, then angles that are not shown yet."""
    angles = [target.angle, *ANGLES]
    unseen = [angle for angle in dict.fromkeys(angles) if angle != view.angle]
    return [View(angle=angle, background="street", seed=number * 10 + place) for place, angle in enumerate(unseen[:3])]


def edited(editor: str, settings: Settings, count: int, references: int) -> tuple[Vectors, list[bool], float]:
    """Identity of each edit with its true result, whether the instruction was followed, and seconds an edit."""
    people = [make_character(FIRST + i) for i in range(count)]
    views = [make_view(FIRST + i) for i in range(count)]
    targets = [make_edit(view, FIRST + i) for i, view in enumerate(views)]
    asked = [instruction(view, target) for view, target in zip(views, targets, strict=True)]
    given = [
        [view, *further_views(view, target, i)][:references]
        for i, (view, target) in enumerate(zip(views, targets, strict=True))
    ]
    sampler = load_recipe(editor).enrich.sampler
    jobs = [
        EditJob(str(i), asked[i], i, sampler, tuple(render(people[i], one) for one in given[i])) for i in range(count)
    ]
    began = time.perf_counter()
    with open_editor(editor, settings) as opened:
        made = {one.key: one.image for one in opened.edit(jobs)}
    seconds = (time.perf_counter() - began) / count
    images = [made[str(i)] for i in range(count)]
    truth = [render(person, target) for person, target in zip(people, targets, strict=True)]
    eyes = NanoEmbedder()
    alike = (eyes.embed(images) * eyes.embed(truth)).sum(1)
    wanted = [facts_of(parse_caption(text)) for text in asked]
    seen = NanoReader().read(images)
    followed = [all(one.get(k) == v for k, v in facts.items()) for facts, one in zip(wanted, seen, strict=True)]
    return alike, followed, seconds


def nano_rows(editor: str, settings: Settings, count: int) -> list[Row]:
    most = most_pictures(resolve_model(editor, ModelRole.EDITOR, settings))
    rows, alone = [], None
    for references in range(1, most + 1):
        alike, followed, seconds = edited(editor, settings, count, references)
        alone = alike if alone is None else alone
        found = bootstrap_interval(count, lambda drawn, values=alike: float(values[drawn].mean()))
        row: Row = {
            "case": f"{editor}_{references}",
            "references": references,
            "identity": float(alike.mean()),
            "low": found.low,
            "high": found.high,
            "edits": count,
            "instruction_followed": float(np.mean(followed)),
            "gain": float((alike - alone).mean()),
            "p_value": None if references == 1 else sign_flip_test([float(one) for one in alike - alone]),
            "edit_seconds": seconds,
        }
        rows.append(row)
        print({key: value for key, value in row.items() if value is not None}, flush=True)
    return rows


def time_rows(folder: Path, settings: Settings) -> list[Row]:
    """Seconds an edit of a full-size editor, by the number of references: one to warm up, then two; one megapixel, 20 steps, guidance."""
    sampler = Sampler(steps=20, guidance=1.0, true_cfg=4.0, width=1024, height=1024)
    picture = Image.effect_noise((1024, 1024), 60).convert("RGB")
    rows: list[Row] = []
    for references in range(1, most_pictures(folder) + 1):
        pictures = tuple(picture.rotate(90 * number) for number in range(references))
        with open_editor(str(folder), settings) as opened:
            list(opened.edit([EditJob("warm", "make it blue", 0, sampler, pictures)]))
            began = time.perf_counter()
            list(opened.edit([EditJob(str(i), "make it blue", i, sampler, pictures) for i in range(2)]))
            seconds = (time.perf_counter() - began) / 2
        peak = torch.cuda.max_memory_reserved() / 2**30 if torch.cuda.is_available() else None
        rows.append(
            {"case": f"time_{references}", "references": references, "edit_seconds": seconds, "peak_reserved_gib": peak}
        )
        print(rows[-1], flush=True)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality.references", description=__doc__)
    parser.add_argument(
        "--editor", default="nano_klein", help="an editor of the nano world, and the recipe of its name"
    )
    parser.add_argument("--count", type=int, default=COUNT, help="edits of each number of references")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="what edits; eyes stay on the CPU")
    parser.add_argument("--time", type=Path, metavar="FOLDER", help="a full-size editor: seconds instead of identity")
    parser.add_argument("--vram-gib", type=float, help="card memory to stay within")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        on_card = given.time is not None or given.device == "cuda"
        settings = Settings(gpu="auto" if on_card else "cpu", workspace=Path(folder), vram_gib=given.vram_gib)
        rows = time_rows(given.time, settings) if given.time else nano_rows(given.editor, settings, given.count)
    print(write_part(NAME, rows, folder=given.out))


if __name__ == "__main__":
    main()
