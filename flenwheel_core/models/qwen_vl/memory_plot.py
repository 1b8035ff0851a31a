"""A plot of what grows with the batch."""

import io
import itertools
from collections.abc import Sequence

from flenwheel_core.models.qwen_vl.batch_memory import MemoryRow

_COLOURS = ("#2b4c7e", "#b23a48", "#5b8c5a", "#8a5a9e", "#c98a2b", "#4aa3a2", "#6b6b6b")
_USUAL = {"text_tokens": 476, "rank": 64}
_PICTURE_TOKENS = 256


def plot_memory(rows: Sequence[MemoryRow]) -> bytes | None:
    """A PNG: peak memory over the batch, a line for each way that was measured at more than one; the same rows give the same bytes.

    None if matplotlib, an optional package, is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        batch, peak = row.get("batch"), row.get("peak_allocated_gib")
        if (
            all(row.get(name) == value for name, value in _USUAL.items())
            and isinstance(batch, int)
            and isinstance(peak, float)
        ):
            lines.setdefault(_way(row, rows), []).append((batch, peak))
    figure = Figure(figsize=(6.4, 4.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shown = [(way, sorted(points)) for way, points in lines.items() if len(points) > 1]
    for (way, points), colour in zip(shown, itertools.cycle(_COLOURS)):
        batches, peaks = zip(*points, strict=True)
        axes.plot(batches, peaks, marker="o", color=colour, label=way)
    axes.margins(y=0.08)
    axes.set_title("Peak memory of a step, GiB", fontsize=10, loc="left")
    axes.set_xlabel("batch")
    axes.set_ylim(bottom=0)
    if shown:
        axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _way(row: MemoryRow, rows: Sequence[MemoryRow]) -> str:
    """How a step was made, for the legend."""
    counts = [count for one in rows if isinstance(count := one.get("layers_recomputed"), int)]
    layers = max(counts, default=0)
    said = ["answers' logits" if row["answers_only"] else "all logits"]
    said.append("features kept" if row["features_kept"] else "eyes at every step")
    if row.get("picture_tokens") != _PICTURE_TOKENS:
        said.append(f"{row['picture_tokens']} picture tokens")
    recomputed = row.get("layers_recomputed")
    if isinstance(recomputed, int) and recomputed < layers:
        said.append(f"{layers - recomputed} of {layers} layers not computed twice")
    return ", ".join(said)
