"""Which base holds a character best: the model cards of several bases in one table, each figure with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flenwheel_core.base.ids import short
from flenwheel_core.base.statistics import Interval, bootstrap_interval
from flenwheel_core.documents.scores import Comparison, Scorecard
from flenwheel_core.evaluation.promotion.characters import compare
from flenwheel_core.recipes.benchmark import BenchmarkRecipe


@dataclass(frozen=True)
class MeasuredBase:
    """A base with the model card of the LoRA that was trained on it."""

    recipe: str
    """The recipe's name."""
    base: str
    licence: str
    card: Scorecard


@dataclass(frozen=True)
class BaseTable:
    """The bases, best first, and how each differs from the best on the same prompts and seeds."""

    rows: tuple[tuple[MeasuredBase, Comparison | None], ...]
    """None for the best itself."""
    significance: float
    """A p value below it is taken for a difference: the recipe's, shared by all that are compared with the best."""

    def lines(self) -> list[str]:
        """As a table in markdown, with a sentence on what it shows."""
        head = ["recipe", "base", "first-try pass rate", "identity", "diversity", "against the best", "licence", "LoRA"]
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        lines += [f"| {' | '.join(self._cells(*row))} |" for row in self.rows]
        return [*lines, "", self.verdict()]

    def _cells(self, one: MeasuredBase, difference: Comparison | None) -> list[str]:
        card = one.card
        against = "the best"
        if difference is not None:
            against = f"{difference.pass_rate_gain:+.0%}, p = {difference.p_value:.2g}; {difference.identity_gain:+.3f}"
        return [
            one.recipe,
            one.base,
            Interval(card.pass_rate, card.pass_rate_low, card.pass_rate_high).text(),
            _identity_text(card),
            f"{card.diversity:.1f}",
            against,
            one.licence,
            short(card.lora) if card.lora else "none",
        ]

    def verdict(self) -> str:
        """Which passes most often, and what is shown and what is open about the others."""
        best, *others = self.rows
        worse = [one.recipe for one, difference in others if _is_shown(difference, self.significance)]
        open_ = [one.recipe for one, _ in others if one.recipe not in worse]
        said = f"{best[0].recipe} passes most often."
        if worse:
            said += f" Shown to be worse: {', '.join(worse)}."
        if open_:
            said += f" Not shown to differ from it: {', '.join(open_)}; more seeds a cell would tell."
        return said


def base_table(measured: Sequence[MeasuredBase], recipe: BenchmarkRecipe) -> BaseTable:
    """Best first, by pass rate, then identity. Raises InputError if the cards were not measured alike."""
    best, *others = sorted(measured, key=lambda one: (-one.card.pass_rate, -one.card.identity, one.recipe))
    rows = [(one, compare(best.card, one.card, recipe)) for one in others]
    return BaseTable(((best, None), *rows), recipe.significance / max(1, len(others)))


def _identity_text(card: Scorecard) -> str:
    """The mean with its interval over cells: pictures of one cell are alike."""
    groups: dict[str, list[float]] = {}
    for cell in card.cells:
        if cell.identity is not None:
            groups.setdefault(cell.cell, []).append(cell.identity)
    means = np.array([np.mean(values) for values in groups.values()])
    if len(means) == 0:
        return "not measured"
    found = bootstrap_interval(len(means), lambda drawn: float(means[drawn].mean()))
    return f"{card.identity:.3f} ({found.low:.3f} to {found.high:.3f})"


def _is_shown(difference: Comparison | None, significance: float) -> bool:
    return difference is not None and difference.p_value is not None and difference.p_value < significance
