"""Plots of pass rate, identity (or distance to the style) and diversity over turns."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flenwheel_core.documents.scores import Scorecard

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#2b4c7e"
AIM = "#b23a48"


def plot_turns(cards: Sequence[tuple[int, Scorecard]], *, target_pass_rate: float) -> bytes | None:
    """A PNG with three panels, one point a turn: pass rate with its interval, identity with its 5 % quantile, diversity.

    The same cards give the same bytes. None if matplotlib, an optional package, is not installed.
    """
    try:
        # The object interface draws without a display and without pyplot's global state.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None

    figure = Figure(figsize=(11, 3.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    turns = [turn for turn, _ in cards]
    rates = [card.pass_rate * 100 for _, card in cards]
    below = [rate - card.pass_rate_low * 100 for rate, (_, card) in zip(rates, cards, strict=True)]
    above = [card.pass_rate_high * 100 - rate for rate, (_, card) in zip(rates, cards, strict=True)]
    axes[0].errorbar(turns, rates, yerr=[below, above], marker="o", color=INK, capsize=3)
    axes[0].axhline(target_pass_rate * 100, color=AIM, linestyle="--", linewidth=1)
    axes[0].set_ylim(0, 104)
    _label(axes[0], "First-try pass rate, %", turns)
    styles = [card.style for _, card in cards if card.style is not None]
    if len(styles) == len(cards):
        near = [one.distance for one in styles]
        off = [[one.distance - one.low for one in styles], [one.high - one.distance for one in styles]]
        axes[1].errorbar(turns, near, yerr=off, marker="o", color=INK, capsize=3)
        axes[1].set_ylim(bottom=0)
        _label(axes[1], "Distance to the style, spreads", turns)
    else:
        axes[1].plot(turns, [card.identity for _, card in cards], marker="o", color=INK, label="mean")
        axes[1].plot(
            turns, [card.identity_p05 for _, card in cards], marker=".", color=INK, alpha=0.5, label="5 % quantile"
        )
        axes[1].legend(frameon=False, fontsize=8)
        _label(axes[1], "Identity, cosine", turns)
    axes[2].plot(turns, [card.diversity for _, card in cards], marker="o", color=INK)
    axes[2].set_ylim(0, max((card.diversity for _, card in cards), default=1) * 1.1)
    _label(axes[2], "Diversity, effective pictures", turns)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _label(axes: "Axes", title: str, turns: Sequence[int]) -> None:
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("turn")
    axes.set_xticks(list(turns))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
