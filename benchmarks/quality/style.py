"""How near a style LoRA comes to a painter whom no base has seen, and what it costs of what a prompt asks for.

Painters of the nano world. A LoRA is trained on paintings of one; pictures of held-out scenes are measured against his other
paintings, beside anchors: photos, the bare base, the base with a style named in its prompt, and true paintings. `shipped` is the recipe
`nano_style` as it stands. `share` is a distance over that of the bare base; `gain_low` and `gain_on_base_low` are the lower ends of the
95 % intervals of what is gained on the named style and on the bare base; rows over painters have the least of each as `least_...`.
`content_lost_points` is what the reader no longer sees of place, pose and angle, against the bare base; `control_lost_points` what it no
longer sees of the base's own pictures under the painter's true hand, as near to him; `beyond_control_points` the difference. Needs no card.

    python -m benchmarks.quality.style --painters 3 --workers 6
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.quality.style_world import (
    BASE,
    NAMED,
    Changes,
    Control,
    Learned,
    Seen,
    anchors,
    drawn_by_base,
    interval,
    learned,
    lost_points,
    start_process,
    style_of,
)
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.evaluation.style_distance import Style, default_strength
from flenwheel_core.recipes.style import StyleRecipe

NAME = "style"
FIRST_PAINTER = 503
"""The three before it were measured first."""
STRENGTHS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
LEAST = ("gain_low", "gain_on_base_low")
"""Of these the least among painters is told."""
MARGIN = float(StyleRecipe.model_fields["content_margin"].default)
METHODS: Mapping[str, Changes] = {
    "lora_all": {"lora": {"rank": 16, "blocks": ()}, "learning_rate": 2e-3},
    "lora_late_rank12": {"lora": {"rank": 12, "blocks": ("single_late",)}, "learning_rate": 2e-3},
    "lora_shipped": {},
}


class Painter:
    """One painter's ways of drawing, measured against his held-out paintings."""

    def __init__(self, found: Mapping[str, Seen], style: Style) -> None:
        self.style = style
        self.found = dict(found)
        self.base = found[BASE]
        self.named = min(
            (name for name in found if name.startswith("named")), key=lambda name: self.distance(found[name])
        )
        self.control = Control(found, self.base, self.distance)

    def distance(self, seen: Seen) -> float:
        return self.style.distance(seen.features).total

    def best(self, one: Learned) -> float:
        """The LoRA's default strength, as `flenwheel` finds it."""
        near = [self.distance(seen) for seen in one.tried.values()]
        kept = [float(seen.content.mean()) for seen in one.tried.values()]
        return default_strength(list(one.tried), near, kept, base=float(self.base.content.mean()), margin=MARGIN)

    def row(self, case: str, seen: Seen, **more: float | str) -> Row:
        distance, gain = (
            self.style.distance(seen.features),
            self.style.gain(seen.features, self.found[self.named].features),
        )
        on_base = self.style.gain(seen.features, self.base.features)
        lost = lost_points(seen, self.base)
        control = self.control.content(distance.total)
        beyond = interval(100 * (control - seen.content))
        return {
            "case": case,
            "distance": distance.total,
            "distance_low": distance.low,
            "distance_high": distance.high,
            "share": distance.total / self.distance(self.base),
            "gain": gain[0],
            "gain_low": gain[1],
            "gain_on_base": on_base[0],
            "gain_on_base_low": on_base[1],
            "content": float(seen.content.mean()),
            "content_lost_points": lost[0],
            "content_lost_low": lost[1],
            "content_lost_high": lost[2],
            "control_lost_points": 100 * float((self.base.content - control).mean()),
            "beyond_control_points": beyond[0],
            "beyond_control_low": beyond[1],
            "beyond_control_high": beyond[2],
            "copied": seen.copied,
            "is_named": seen is self.found[self.named],
            **more,
        }

    def rows(self, name: str, loras: Sequence[Learned]) -> list[Row]:
        """Anchors first, then each LoRA at its default strength and at all of them."""
        rows = [self.row(f"{name}_{way}", seen) for way, seen in self.found.items()]
        rows.append(self.row(f"{name}_named", self.found[self.named]))
        for one in loras:
            case, chosen = f"{name}_{one.method}", self.best(one)
            rows.append(self.row(case, one.tried[chosen], file_bytes=one.file_bytes, strength=chosen))
            rows += [self.row(f"{case}_at_{at:g}", seen, strength=at) for at, seen in one.tried.items()]
        return rows


def with_means(rows: Sequence[Row]) -> list[Row]:
    """The rows of painters, and one a method with their means; intervals are those of painters, so these have none."""
    methods = dict.fromkeys(str(row["case"]).partition("_")[2] for row in rows)
    figures = (
        "distance",
        "share",
        "gain",
        "gain_on_base",
        "content",
        "content_lost_points",
        "control_lost_points",
        "beyond_control_points",
        "copied",
        "file_bytes",
        "strength",
    )
    means: list[Row] = []
    for method in methods:
        own = [row for row in rows if str(row["case"]).partition("_")[2] == method]
        shown = {key: [float(row[key]) for row in own if row.get(key) is not None] for key in (*figures, *LEAST)}  # type: ignore[arg-type]
        means.append(
            {
                "case": method,
                "painters": len(own),
                **{key: float(np.mean(shown[key])) for key in figures if shown[key]},
                **{f"least_{key}": min(shown[key]) for key in LEAST if shown[key]},
            }
        )
    return [*means, *rows]


def measured(
    painters: Sequence[int], methods: Mapping[str, Changes], arguments: argparse.Namespace
) -> "list[tuple[Painter, list[Learned]]]":
    """All painters and their LoRAs, as far as they are there when the time is up."""
    ends = time.monotonic() + arguments.seconds
    device, drawn = arguments.device, arguments.drawn
    cards = arguments.cards if device == "cuda" else []
    start = multiprocessing.get_context("spawn")
    words = {BASE: "", **{f"named_{one.split()[0]}": one for one in arguments.named}}
    loras: dict[int, list[Learned]] = {painter: [] for painter in painters}
    pool = ProcessPoolExecutor(arguments.workers, start, start_process, (cards, arguments.threads))
    try:
        drawing = {name: pool.submit(drawn_by_base, device, drawn, one) for name, one in words.items()}
        base = {name: one.result() for name, one in drawing.items()}
        beside = {painter: pool.submit(anchors, device, drawn, painter, base[BASE][0]) for painter in painters}
        waiting = {
            pool.submit(learned, device, drawn, painter, name, dict(changes), arguments.strengths): (painter, name)
            for name, changes in methods.items()
            for painter in painters
        }
        with suppress(TimeoutError):
            for done in as_completed(waiting, max(0.0, ends - time.monotonic())):
                painter, name = waiting[done]
                if error := done.exception():  # one that fails takes nothing from the others
                    print(f"{name} of painter {painter}: {type(error).__name__}: {error}", flush=True)
                    continue
                loras[painter].append(done.result())
                print(
                    f"{name} of painter {painter} after {time.monotonic() - ends + arguments.seconds:.0f} s", flush=True
                )
        found = []
        for painter in painters:
            ways = {**{name: seen for name, (_, seen) in base.items()}, **beside[painter].result()}
            found.append((Painter(ways, style_of(painter)), loras[painter]))
        return found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """The options of benchmarks of styles."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("--painters", type=int, default=3)
    parser.add_argument("--first", type=int, default=FIRST_PAINTER, help="the first painter's number")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--drawn", type=int, default=64, help="held-out scenes")
    parser.add_argument("--strengths", type=float, nargs="+", default=list(STRENGTHS))
    parser.add_argument("--named", nargs="+", default=list(NAMED), help="what the base is asked for without a LoRA")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="what trains and draws")
    parser.add_argument("--cards", nargs="+", default=[], help="CUDA devices that processes are spread over")
    parser.add_argument("--seconds", type=float, default=1e6, help="write what is there after so long")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser


def main() -> None:
    arguments = parser_of(__doc__).parse_args()
    methods = {name: {"steps": arguments.steps, **changes} for name, changes in METHODS.items()}
    painters = [arguments.first + number for number in range(arguments.painters)]
    found = measured(painters, methods, arguments)
    rows = [row for number, (painter, own) in enumerate(found) for row in painter.rows(f"painter{number}", own)]
    write_result(NAME, with_means(rows), folder=arguments.out)
    print(json.dumps(with_means(rows)[:20]), flush=True)


if __name__ == "__main__":
    main()
