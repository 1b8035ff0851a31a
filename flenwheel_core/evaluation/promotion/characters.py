"""The rule for characters: champion against challenger on the same prompts and seeds."""

from dataclasses import dataclass

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.statistics import mcnemar, sign_flip_test
from flenwheel_core.documents.scores import CellScore, Comparison, Scorecard
from flenwheel_core.evaluation.promotion.rule import Part, promotes, reasons
from flenwheel_core.recipes.benchmark import BenchmarkRecipe


@dataclass(frozen=True)
class Pair:
    """The same prompt and seed, drawn by both."""

    champion: CellScore
    challenger: CellScore


def compare(
    champion: Scorecard, challenger: Scorecard, recipe: BenchmarkRecipe, first_turn: Scorecard | None = None
) -> Comparison:
    """The promotion rule: not worse on identity, not less diverse by more than the margin, better or equal on pass rate.

    A rise of identity bought with diversity is a collapse: it raises the alarm and is never promoted.
    Raises InputError if the two were not measured alike.
    """
    pairs = _pairs(champion, challenger)
    identity_gain = round(challenger.identity - champion.identity, 5)
    diversity_gain = round(challenger.diversity - champion.diversity, 4)
    before, after, p_pass = pass_rates(champion, challenger)
    differences = [
        pair.challenger.identity - pair.champion.identity
        for pair in pairs
        if pair.challenger.identity is not None and pair.champion.identity is not None
    ]
    p_identity = sign_flip_test(differences)
    alarm = collapse_alarm(champion, challenger, recipe) or (
        first_turn is not None and collapse_alarm(first_turn, challenger, recipe)
    )
    parts = [
        _pass_rate(before, after, p_pass),
        _identity(identity_gain, p_identity, recipe),
        diversity_part(champion, challenger, recipe),
    ]
    if alarm:
        parts.append(Part(False, "Identity does not fall while diversity does: it is collapsing onto a few pictures."))
    return Comparison(
        promote=promotes(parts),
        reasons=reasons(parts),
        pass_rate_gain=round(after - before, 5),
        identity_gain=identity_gain,
        diversity_gain=diversity_gain,
        p_value=round(p_pass, 5),
        collapse_alarm=alarm,
    )


def pass_rates(champion: Scorecard, challenger: Scorecard) -> tuple[float, float, float]:
    """The champion's pass rate, the challenger's, on what both were measured on, and the p-value of a paired test.

    Raises InputError if the two were not measured alike.
    """
    pairs = _pairs(champion, challenger)
    passed = [(pair.champion.passed, pair.challenger.passed) for pair in pairs if _both_measured(pair)]
    p_value = mcnemar([before for before, _ in passed], [after for _, after in passed])
    return _rate([before for before, _ in passed]), _rate([after for _, after in passed]), p_value


def collapse_alarm(earlier: Scorecard, later: Scorecard, recipe: BenchmarkRecipe) -> bool:
    """True if diversity fell clearly while identity did not. The bare base model draws everybody and is no yardstick."""
    if earlier.lora is None or later.lora is None or earlier.diversity <= 0:
        return False
    if earlier.verifier_version != later.verifier_version:
        return False
    drop = 1 - later.diversity / earlier.diversity
    return drop > recipe.collapse_diversity_drop and later.identity >= earlier.identity - recipe.identity_margin


def _pairs(champion: Scorecard, challenger: Scorecard) -> list[Pair]:
    if champion.verifier_version != challenger.verifier_version:
        raise InputError(
            "Champion and challenger were measured by different verifiers.",
            remedy="Run the benchmark of both again with one verifier.",
        )
    known = {(score.cell, score.seed): score for score in champion.cells}
    pairs = [Pair(known[key], score) for score in challenger.cells if (key := (score.cell, score.seed)) in known]
    if len(pairs) != len(challenger.cells) or len(pairs) != len(champion.cells):
        raise InputError(
            "Champion and challenger were not drawn from the same prompts and seeds.",
            remedy="Run the benchmark of both again.",
        )
    return pairs


def _both_measured(pair: Pair) -> bool:
    return pair.champion.measured and pair.challenger.measured


def _rate(outcomes: list[bool]) -> float:
    return sum(outcomes) / len(outcomes) if outcomes else 0.0


def _pass_rate(before: float, after: float, p_value: float) -> Part:
    rates = f"first-try pass rate {after:.0%}, the champion's {before:.0%} (p = {p_value:.2g})"
    if after > before:
        return Part(True, f"Better: {rates}.")
    if after == before:
        return Part(True, f"Equal: {rates}.")
    return Part(False, f"Worse: {rates}.")


def _identity(gain: float, p_value: float, recipe: BenchmarkRecipe) -> Part:
    figures = f"identity {gain:+.3f} (p = {p_value:.2g})"
    if gain >= 0:
        return Part(True, f"Not worse: {figures}.")
    if gain >= -recipe.identity_margin:
        return Part(True, f"Not worse within the margin of {recipe.identity_margin:g}: {figures}.")
    if p_value >= recipe.significance:
        return Part(True, f"Not shown to be worse: {figures}.")
    return Part(False, f"Worse: {figures}, the margin is {recipe.identity_margin:g}.")


def diversity_part(champion: Scorecard, challenger: Scorecard, recipe: BenchmarkRecipe) -> Part:
    """Whether the challenger's pictures are as different from each other as the champion's."""
    figures = f"diversity {challenger.diversity:.1f}, the champion's {champion.diversity:.1f}"
    if champion.lora is None:
        return Part(True, f"Not compared, the base model draws everybody: {figures}.")
    if challenger.diversity >= champion.diversity * (1 - recipe.diversity_margin):
        return Part(True, f"Not worse: {figures}.")
    return Part(False, f"Worse: {figures}; it may fall by {recipe.diversity_margin:.0%} at most.")
