"""What a prepared set of paintings looks like in numbers: a Parquet table, plots, and a page for people."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from flenwheel_core.datasets.choices import FILTERS
from flenwheel_core.datasets.prepare import DatasetFacts, read_prepared
from flenwheel_core.images.decode import Limits, decode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STATISTICS, PLOTS, PAGE = "statistics.parquet", "statistics.png", "statistics.md"
_LARGEST = 15
"""Bars of a plot."""
_PALETTE = 12
_INK, _AIM = "#2b4c7e", "#b23a48"
_LOOKED_AT = Limits(maximum_side_px=128, quick=True)


def write_statistics(folder: Path) -> tuple[Path, ...]:
    """Writes table, page and, where matplotlib is installed, plots into a prepared folder. Raises InputError if it is none."""
    facts, paintings = read_prepared(folder)
    palette = main_colours(folder)
    statistics(paintings, palette).write_parquet(folder / STATISTICS)
    plotted = plot(paintings, palette)
    if plotted is not None:
        (folder / PLOTS).write_bytes(plotted)
    (folder / PAGE).write_text(page(facts, paintings, plotted=plotted is not None))
    written = (STATISTICS, PAGE, *((PLOTS,) if plotted is not None else ()))
    return tuple(folder / name for name in written)


def statistics(paintings: pl.DataFrame, palette: Sequence[tuple[str, float]]) -> pl.DataFrame:
    """Counts and histograms as one long table: subject, value, part and count, so that a further subject is further rows."""
    chosen = paintings.filter(pl.col("part").is_not_null())
    long = [_counted(chosen, pl.col(label), label) for label in ("artist", "genre", "style")]
    long += [
        _counted(
            chosen,
            (pl.max_horizontal("width", "height") / pl.min_horizontal("width", "height")).round(1).cast(pl.String),
            "aspect",
        ),
        _counted(chosen, (pl.min_horizontal("width", "height") // 256 * 256).cast(pl.String), "shorter_side_px"),
        _counted(chosen, pl.col("saturation").round(1).cast(pl.String), "saturation"),
        _counted(
            paintings.filter(pl.col("part").is_null()).with_columns(part=pl.lit("left_out")), pl.col("filter"), "filter"
        ),
        pl.DataFrame(
            {
                "subject": ["palette"] * len(palette),
                "value": [colour for colour, _ in palette],
                "part": ["train"] * len(palette),
                "count": [share for _, share in palette],
            },
            schema={"subject": pl.String, "value": pl.String, "part": pl.String, "count": pl.Float64},
        ),
    ]
    return pl.concat(long).sort("subject", "part", "value")


def main_colours(folder: Path, most_pictures: int = 400) -> list[tuple[str, float]]:
    """The main colours of the pictures that are trained on, as #rrggbb with their shares, largest first; every copy left out."""
    files = sorted(path for path in (folder / "train").glob("*.png") if "-" not in path.stem)
    step = max(1, len(files) // most_pictures)
    points = [_lab_points(path) for path in files[::step]]
    if not points:
        return []
    sample = np.concatenate(points).astype(np.float32)
    cv2.setRNGSeed(0)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 0.1)
    number = min(_PALETTE, len(sample))
    _, labels, centres = cv2.kmeans(sample, number, np.empty(0, np.int32), criteria, 2, cv2.KMEANS_PP_CENTERS)
    shares = np.bincount(labels.ravel(), minlength=number) / len(sample)
    colours = (
        np.clip(cv2.cvtColor(centres[None].astype(np.float32), cv2.COLOR_LAB2RGB)[0] * 255, 0, 255).round().astype(int)
    )
    found = [
        ("#" + "".join(f"{int(part):02x}" for part in colour), round(float(share), 4))
        for colour, share in zip(colours, shares, strict=True)
    ]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def page(facts: DatasetFacts, paintings: pl.DataFrame, *, plotted: bool) -> str:
    """The page: where the set came from, what each filter left out, who painted it."""
    source, parts = facts.source, facts.parts
    where = f"{source.name}@{source.revision[:12]}" if source.revision else source.name
    lines = [
        f"# Paintings from {where}",
        "",
        f"{facts.read} paintings were read. {parts['train']} are trained on, {parts['held_out_painting']} of the same artists and "
        f"{parts['held_out_artist']} of others are held out. Licence of the files as the source states it: {source.licence}.",
        "",
        "## What each filter left out",
        "",
        "| filter | left out because | left out | left |",
        "|---|---|---|---|",
    ]
    left, counts = len(paintings), dict(paintings["filter"].value_counts().iter_rows())
    for name, why in FILTERS.items():
        left -= counts.get(name, 0)
        lines.append(f"| {name} | {why} | {counts.get(name, 0)} | {left} |")
    if plotted:
        lines += ["", f"![counts, shapes and colours]({PLOTS})"]
    chosen = paintings.filter(pl.col("part").is_not_null())
    for label in ("artist", "genre"):
        lines += ["", f"## By {label}", "", f"| {label} | trained on | held out |", "|---|---|---|"]
        lines += [f"| {name} | {train} | {held} |" for name, train, held in _by_part(chosen, label)]
    return "\n".join(lines) + "\n"


def plot(paintings: pl.DataFrame, palette: Sequence[tuple[str, float]]) -> bytes | None:
    """Six panels as a PNG; None if matplotlib, an optional package, is not installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    chosen = paintings.filter(pl.col("part").is_not_null())
    figure = Figure(figsize=(12, 7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3)
    _bars(axes[0, 0], dict(_counts(chosen, "artist")[:_LARGEST]), "Artists")
    _bars(axes[0, 1], dict(_counts(chosen, "genre")[:_LARGEST]), "Genres")
    left_out = dict(_counts(paintings.filter(pl.col("filter").is_not_null()), "filter"))
    _bars(axes[0, 2], {name: left_out.get(name, 0) for name in FILTERS}, "Left out by", colour=_AIM)
    sizes = chosen.select(pl.min_horizontal("width", "height"), aspect=pl.col("width") / pl.col("height"))
    _histogram(axes[1, 0], sizes.to_series(0).to_numpy(), "Shorter side, px")
    _histogram(axes[1, 1], sizes["aspect"].to_numpy(), "Width over height")
    start = 0.0
    for colour, share in palette:
        axes[1, 2].barh(0, share, left=start, color=colour)
        start += share
    axes[1, 2].set_title("Main colours of the training pictures", fontsize=10, loc="left")
    axes[1, 2].set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _counted(paintings: pl.DataFrame, value: pl.Expr, subject: str) -> pl.DataFrame:
    counted = paintings.group_by(value.alias("value"), "part").agg(pl.len().cast(pl.Float64).alias("count"))
    return counted.select(pl.lit(subject).alias("subject"), "value", "part", "count")


def _counts(paintings: pl.DataFrame, label: str) -> list[tuple[str, int]]:
    return sorted(paintings[label].value_counts().iter_rows(), key=lambda row: (-row[1], row[0]))


def _by_part(chosen: pl.DataFrame, label: str) -> list[tuple[str, int, int]]:
    train = dict(_counts(chosen.filter(pl.col("part") == "train"), label))
    return [(name, train.get(name, 0), count - train.get(name, 0)) for name, count in _counts(chosen, label)]


def _lab_points(path: Path) -> NDArray[np.float32]:
    """Every eighth pixel of a picture, (number, 3) L*a*b*."""
    pixels = np.asarray(decode(path.read_bytes(), path.name, _LOOKED_AT).image, np.float32) / 255
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB).reshape(-1, 3)[::8], np.float32)


def _bars(axes: "Axes", counts: Mapping[str, int], title: str, colour: str = _INK) -> None:
    axes.barh(list(counts)[::-1], list(counts.values())[::-1], color=colour)
    _titled(axes, title)


def _histogram(axes: "Axes", values: NDArray[np.float64], title: str) -> None:
    axes.hist(values, bins=20, color=_INK)
    _titled(axes, title)


def _titled(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
