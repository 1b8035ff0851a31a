"""Which training teaches nano FLUX a painter best: one choice after the other is changed, on painters that the figures are not told of.

Each candidate is a change of the recipe `nano_style`, trained on each of several painters and drawn at several strengths. `distance` and
`content_lost_points` are those at its default strength, at which 2 points of content may be lost; `fair_` ones those at the strength
nearest to the painter that loses at most 2 points more than the control does (`style_world.py`), `full_` ones those at strength 1. Means
over painters. Needs no card.

    python -m benchmarks.quality.style_search --painters 2 --workers 10 --device cuda --cards 0
"""

import json
import time
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.quality.style import MARGIN, Painter, measured, parser_of
from benchmarks.quality.style_world import Changes, Learned
from benchmarks.result_file import Row, write_result

NAME = "style_search"
FIRST_PAINTER = 620
FULL: Changes = {"lora": {"rank": 16, "blocks": ()}}
SMALL: Changes = {"lora": {"rank": 8}}
LATE: Mapping[str, object] = {"rank": 12}


def _with(plain: Changes, **more: object) -> Changes:
    """The change `plain` with further ones; tables are merged."""
    found = dict(plain)
    for key, value in more.items():
        old = found.get(key)
        found[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def _sigma(**values: object) -> dict[str, object]:
    return {"sigma": values}


CONTENT = ("content_lost_points", "control_lost_points", "beyond_control_points")
IMAGES = {"method": "images", "share": 0.35, "images": 16}
PREDICTION = {"method": "prediction", "share": 0.35, "images": 16}
CANDIDATES: Mapping[str, Changes] = {
    "all": FULL,
    "all_lr5e-4": _with(FULL, learning_rate=5e-4),
    "all_lr2e-3": _with(FULL, learning_rate=2e-3),
    "all_steps800": _with(FULL, steps=800),
    "all_low_noise1": _with(FULL, **_sigma(logit_mean=-1.0)),
    "all_low_noise05": _with(FULL, **_sigma(logit_mean=-0.5)),
    "all_high_noise05": _with(FULL, **_sigma(logit_mean=0.5)),
    "all_uniform": _with(FULL, **_sigma(density="uniform")),
    "all_no_shift": _with(FULL, **_sigma(shift="none")),
    "all_prior_images": _with(FULL, prior=IMAGES),
    "all_prior_prediction": _with(FULL, prior=PREDICTION),
    "all_dropout01": _with(FULL, caption_dropout=0.1),
    "all_attention": _with(FULL, lora={"targets": ("attention",)}),
    "all_mlp": _with(FULL, lora={"targets": ("mlp",)}),
    "all_decay": _with(FULL, weight_decay=0.1),
    "all_ema": _with(FULL, ema_decay=0.99),
    "all_lora_dropout": _with(FULL, lora={"dropout": 0.1}),
    "all_rank4": _with(FULL, lora={"rank": 4}),
    "all_rank3": _with(FULL, lora={"rank": 3}),
    "all_batch8": _with(FULL, batch_size=8),
    "all_lr2e-3_low_noise1": _with(FULL, learning_rate=2e-3, **_sigma(logit_mean=-1.0)),
    "late": SMALL,
    "late_rank12": _with(SMALL, lora=LATE),
    "late_rank12_lr2e-3": _with(SMALL, lora=LATE, learning_rate=2e-3),
    "late_rank12_lr4e-3": _with(SMALL, lora=LATE, learning_rate=4e-3),
    "late_rank12_lr2e-3_low_noise1": _with(SMALL, lora=LATE, learning_rate=2e-3, **_sigma(logit_mean=-1.0)),
    "late_rank12_steps800": _with(SMALL, lora=LATE, steps=800),
    "late_rank12_low_noise1": _with(SMALL, lora=LATE, **_sigma(logit_mean=-1.0)),
    "late_rank12_high_noise05": _with(SMALL, lora=LATE, **_sigma(logit_mean=0.5)),
    "late_rank12_prior_images": _with(SMALL, lora=LATE, prior=IMAGES),
    "late_rank12_prior_prediction": _with(SMALL, lora=LATE, prior=PREDICTION),
    "late_rank12_batch8": _with(SMALL, lora=LATE, batch_size=8),
    "late_rank4": _with(SMALL, lora={"rank": 4}),
    "late_mlp_rank20": _with(SMALL, lora={"rank": 20, "targets": ("mlp",)}),
    "late_attention_rank24": _with(SMALL, lora={"rank": 24, "targets": ("attention",)}),
    "single_rank6": _with(SMALL, lora={"rank": 6, "blocks": ("single",)}),
    "middle_rank12": _with(SMALL, lora={"rank": 12, "blocks": ("single:2-5",)}),
    "last_rank24": _with(SMALL, lora={"rank": 24, "blocks": ("single:6-7",)}),
    "three_late_rank16": _with(SMALL, lora={"rank": 16, "blocks": ("single:5-7",)}),
    "early_rank12": _with(SMALL, lora={"rank": 12, "blocks": ("single_early",)}),
    "double_late_rank16": _with(SMALL, lora={"rank": 16, "blocks": ("double_late",)}),
    "late_both_rank8": _with(SMALL, lora={"rank": 8, "blocks": ("single_late", "double_late")}),
    "all_rank3_lr2e-3": _with(FULL, lora={"rank": 3}, learning_rate=2e-3),
}


def summary(name: str, tried: Sequence[tuple[Painter, Learned]]) -> tuple[Row, list[Row]]:
    """A candidate at its default strengths and where it loses no more than the control; and its course over the strengths."""
    chosen, fair, full, course = [], [], [], []
    for painter, one in tried:
        rows = {at: painter.row(name, seen, strength=at) for at, seen in one.tried.items()}
        chosen.append(rows[painter.best(one)])
        allowed = [row for row in rows.values() if _number(row, "beyond_control_points") <= 100 * MARGIN]
        fair.append(min(allowed or rows.values(), key=lambda row: _number(row, "distance")))
        full.append(rows[max(at for at in rows if at <= 1)])
        course.append(rows)
    shown = ("distance", "share", "gain", *CONTENT)
    row: Row = {
        "case": name,
        "painters": len(tried),
        "file_bytes": tried[0][1].file_bytes,
        **_means(chosen, (*shown, "gain_low", "copied", "strength")),
        **{f"fair_{key}": value for key, value in _means(fair, (*shown, "strength")).items()},
        **{f"full_{key}": value for key, value in _means(full, (*shown, "strength")).items()},
    }
    return row, [{"case": f"{name}_at_{at:g}", **_means([rows[at] for rows in course], shown)} for at in course[0]]


def anchored(painters: Sequence[Painter]) -> list[Row]:
    """Means over painters of what LoRAs are held against; `named` is the best naming of each."""
    rows = [{name: painter.row(name, seen) for name, seen in painter.found.items()} for painter in painters]
    for painter, own in zip(painters, rows, strict=True):
        own["named"] = own[painter.named]
    shown = ("distance", "share", "gain", *CONTENT)
    return [
        {"case": name, "painters": len(painters), **_means([own[name] for own in rows], shown)}
        for name in rows[0]
        if not name.startswith("named_")
    ]


def _number(row: Row, key: str) -> float:
    return float(row[key] or 0)


def _means(rows: Sequence[Row], keys: Sequence[str]) -> dict[str, float]:
    return {key: float(np.mean([_number(row, key) for row in rows])) for key in keys}


def main() -> None:
    parser = parser_of(__doc__)
    parser.set_defaults(first=FIRST_PAINTER)
    parser.add_argument("--only", nargs="+", default=list(CANDIDATES), help="candidates")
    parser.add_argument("--more", default="{}", help="further candidates and their changes, JSON")
    arguments = parser.parse_args()
    began = time.monotonic()
    candidates = {**{name: CANDIDATES[name] for name in arguments.only}, **json.loads(arguments.more)}
    methods = {name: {"steps": arguments.steps, **changes} for name, changes in candidates.items()}
    painters = [arguments.first + number for number in range(arguments.painters)]
    found = measured(painters, methods, arguments)
    rows: list[Row] = []
    curves: list[Row] = []
    for name in methods:
        tried = [(painter, one) for painter, own in found for one in own if one.method == name]
        if tried:
            row, course = summary(name, tried)
            rows.append(row)
            curves += course
            print(json.dumps(row), flush=True)
    write_result(NAME, [*anchored([painter for painter, _ in found]), *rows], folder=arguments.out)
    write_result(f"{NAME}_curves", curves, folder=arguments.out)
    print(f"{time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
