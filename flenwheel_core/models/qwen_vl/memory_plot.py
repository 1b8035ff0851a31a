"""A plot of what grows with the batch."""

import io
from collections.abc import Sequence

from flenwheel_core.models.qwen_vl.batch_memory import MemoryRow

_COLOURS = {(True, True): "#2b4c7e", (False, True): "#b23a48", (True, False): "#5b8c5a", (False, False): "#8a5a9e"}


def plot_memory(rows: Sequence[MemoryRow]) -> bytes | None:
    """A PNG: peak memory over the batch, a line for each of logits and features spared or not; the same rows give the same bytes.

    None if matplotlib, an optional package, is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    lines: dict[tuple[bool, bool], list[tuple[float, float]]] = {}
    for row in rows:
        batch, peak = row.get("batch"), row.get("peak_allocated_gib")
        plain = row.get("picture_tokens") == 256 and row.get("text_tokens") == 476 and row.get("rank") == 64
        if plain and "kept" not in str(row["case"]) and isinstance(batch, int) and isinstance(peak, float):
            key = bool(row["answers_only"]), bool(row["features_kept"])
            lines.setdefault(key, []).append((batch, peak))
    figure = Figure(figsize=(6.4, 4.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for key, points in sorted(lines.items(), reverse=True):
        logits = "answers' logits" if key[0] else "all logits"
        features = "features kept" if key[1] else "eyes at every step"
        batches, peaks = zip(*sorted(points), strict=True)
        axes.plot(batches, peaks, marker="o", color=_COLOURS[key], label=f"{logits}, {features}")
    axes.set_title("Peak memory of a step, GiB", fontsize=10, loc="left")
    axes.set_xlabel("batch")
    axes.set_ylim(bottom=0)
    if lines:
        axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
