"""The rule inside a training: the last state is taken, unless another one beats it on pictures that it was not picked by."""

from collections.abc import Sequence

from flenwheel_core.base.statistics import sign_flip_test
from flenwheel_core.documents.choices import TriedState, worth
from flenwheel_core.documents.scores import Comparison, Scorecard
from flenwheel_core.evaluation.promotion.characters import compare
from flenwheel_core.evaluation.promotion.rule import Part, promotes, reasons
from flenwheel_core.recipes.benchmark import BenchmarkRecipe


def best_place(tried: Sequence[TriedState]) -> int:
    """The place of the state whose pictures show most of what was asked, then of the most alike one; of equal ones the last state.

    The luckiest of many: it is only a candidate, and has to win again.
    """
    last = len(tried) - 1
    return max(range(len(tried)), key=lambda place: (tried[place].shown, tried[place].card.identity, place == last))


def beats(last: Scorecard, other: Scorecard, recipe: BenchmarkRecipe, significance: float) -> Comparison:
    """Whether a state takes the place of the last one, on the same new prompts and seeds.

    It must show more of what was asked (paired test over the pictures), and hold all that a challenger must hold against a champion: not
    fewer pictures pass, identity and diversity not worse. Raises InputError if the two were not measured alike.
    """
    held = compare(last, other, recipe)
    known = {(cell.cell, cell.seed): worth(cell) for cell in last.cells}
    gains = [worth(cell) - known[cell.cell, cell.seed] for cell in other.cells]
    gain, p_value = sum(gains) / max(1, len(gains)), sign_flip_test(gains)
    better = gain > 0 and p_value < significance
    figures = f"{gain:+.1%} of what {len(gains)} pictures were asked for (p = {p_value:.2g})"
    part = Part(
        better,
        f"A gain that chance would not explain: {figures}."
        if better
        else f"No gain that chance would not explain: {figures}.",
    )
    return held.model_copy(
        update={
            "promote": held.promote and promotes([part]),
            "reasons": (*reasons([part]), *held.reasons),
            "p_value": round(p_value, 5),
        }
    )
