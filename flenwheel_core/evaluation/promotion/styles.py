"""The rule for styles: champion against challenger on the same scenes and seeds."""

from collections.abc import Sequence

from flenwheel_core.documents.scores import Comparison, Scorecard
from flenwheel_core.evaluation.promotion.characters import diversity_part, pass_rates
from flenwheel_core.evaluation.promotion.rule import Part, promotes, reasons
from flenwheel_core.evaluation.style_distance import Style
from flenwheel_core.images.style_features import StyleFeatures
from flenwheel_core.recipes.benchmark import BenchmarkRecipe


def compare_styles(
    champion: Scorecard,
    challenger: Scorecard,
    pictures: tuple[Sequence[StyleFeatures], Sequence[StyleFeatures]],
    style: Style,
    recipe: BenchmarkRecipe,
    content_margin: float,
) -> Comparison:
    """The promotion rule: not shown to be farther from the style, no fewer pictures pass, content kept, nothing repeated, as diverse.

    `pictures` are the features of the champion's pictures and of the challenger's.
    """
    gain, low, high = style.gain(pictures[1], pictures[0])
    before, after, p_value = pass_rates(champion, challenger)
    parts = [
        _nearer(gain, low, high),
        _passing(before, after, p_value, recipe),
        _content(champion, challenger, content_margin),
        _copies(champion, challenger),
        diversity_part(champion, challenger, recipe),
    ]
    return Comparison(
        promote=promotes(parts),
        reasons=reasons(parts),
        pass_rate_gain=round(after - before, 5),
        identity_gain=round(challenger.identity - champion.identity, 5),
        diversity_gain=round(challenger.diversity - champion.diversity, 4),
        p_value=round(p_value, 5),
        style_gain=round(gain, 5),
    )


def _nearer(gain: float, low: float, high: float) -> Part:
    figures = f"{abs(gain):.2f} spreads {'nearer to' if gain >= 0 else 'farther from'} the style (95 % interval {low:+.2f} to {high:+.2f})"
    if low > 0:
        return Part(True, f"Better: {figures}.")
    if high >= 0:
        return Part(True, f"Not shown to be worse: {figures}.")
    return Part(False, f"Worse: {figures}.")


def _passing(before: float, after: float, p_value: float, recipe: BenchmarkRecipe) -> Part:
    rates = f"first-try pass rate {after:.0%}, the champion's {before:.0%} (p = {p_value:.2g})"
    if after >= before:
        return Part(True, f"{'Better' if after > before else 'Equal'}: {rates}.")
    if p_value >= recipe.significance:
        return Part(True, f"Not shown to be worse: {rates}.")
    return Part(False, f"Worse: {rates}.")


def _content(champion: Scorecard, challenger: Scorecard, margin: float) -> Part:
    before, after = (card.style.content if card.style else None for card in (champion, challenger))
    if before is None or after is None:
        return Part(True, "Content was not compared: the recipe names no reader that sees it.")
    figures = f"content kept {after:.0%}, the champion's {before:.0%}"
    if after >= before - margin:
        return Part(True, f"Not worse: {figures}.")
    return Part(False, f"Worse: {figures}; it may fall by {margin:.0%} at most.")


def _copies(champion: Scorecard, challenger: Scorecard) -> Part:
    before, after = (card.style.copied if card.style else 0 for card in (champion, challenger))
    if after <= before:
        return Part(True, f"{after} pictures repeat a painting that was trained on, the champion's {before}.")
    return Part(False, f"Worse: {after} pictures repeat a painting that was trained on, the champion's {before}.")
