"""Intervals and paired tests, exact and deterministic."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
SIGN_FLIPS = 20_000
EXACT_UP_TO = 14
"""Up to this many pairs all sign patterns are tried instead of a sample."""


@dataclass(frozen=True)
class Interval:
    """A rate or a mean with its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self) -> str:
        """`83 % (70-91 %)`."""
        return f"{self.value:.0%} ({self.low:.0%} to {self.high:.0%})"


def wilson(successes: int, trials: int) -> Interval:
    """The 95 % Wilson score interval of a rate (Wilson 1927); 0 to 1 without trials."""
    if trials == 0:
        return Interval(0.0, 0.0, 1.0)
    rate = successes / trials
    denominator = 1 + Z_95**2 / trials
    centre = (rate + Z_95**2 / (2 * trials)) / denominator
    half = Z_95 * math.sqrt(rate * (1 - rate) / trials + Z_95**2 / (4 * trials**2)) / denominator
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(rate, low, high)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided exact McNemar test of paired outcomes: only pairs that differ count."""
    gained = sum(not a and b for a, b in zip(first, second, strict=True))
    lost = sum(a and not b for a, b in zip(first, second, strict=True))
    number = gained + lost
    if number == 0:
        return 1.0
    patterns = sum(math.comb(number, k) for k in range(min(gained, lost) + 1))
    return min(1.0, math.ldexp(patterns, 1 - number))


def sign_flip_test(differences: Sequence[float], seed: int = 0) -> float:
    """Two-sided paired permutation test that the mean difference is 0. Exact for few pairs, sampled by `seed` for many."""
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    if len(values) == 0:
        return 1.0
    if len(values) <= EXACT_UP_TO:
        patterns = (np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1
        signs = patterns * 2 - 1
    else:
        signs = np.random.default_rng(seed).integers(0, 2, size=(SIGN_FLIPS, len(values))) * 2 - 1
    flipped = np.abs(signs @ values)
    reached = int((flipped >= abs(values.sum()) - 1e-12).sum())
    if len(values) <= EXACT_UP_TO:
        return reached / len(signs)
    return (reached + 1) / (len(signs) + 1)


def bootstrap_interval(
    groups: int, figure: Callable[[NDArray[np.intp]], float], *, seed: int = 0, rounds: int = 400
) -> Interval:
    """95 % percentile interval of `figure` when whole groups (cells) are drawn with replacement."""
    random = np.random.default_rng(seed)
    values = [figure(random.integers(0, groups, size=groups)) for _ in range(rounds)]
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(figure(np.arange(groups)), float(low), float(high))


def binomial_tail(successes: int, trials: int, rate: float) -> float:
    """The probability of so many successes or more in `trials` tries of that rate."""
    if successes <= 0:
        return 1.0
    return max(0.0, 1.0 - _binomial_up_to(successes - 1, trials, rate))


def rank_tail(successes: int, trials: int, rank: int, known: int) -> float:
    """The probability that so many of `trials` new values, or more, lie below the `rank`-th lowest of `known` ones of the same kind.

    Exact whatever the values look like, as long as they do not repeat (a beta-binomial law; Wilks 1941).
    """
    if successes <= 0:
        return 1.0
    log = math.lgamma
    whole = log(known + 1) - log(rank) - log(known - rank + 1) + log(trials + 1) - log(known + trials + 1)
    return min(
        1.0,
        sum(
            math.exp(
                whole
                + log(below + rank)
                - log(below + 1)
                + log(trials - below + known - rank + 1)
                - log(trials - below + 1)
            )
            for below in range(successes, trials + 1)
        ),
    )


def upper_limit(successes: int, trials: int, confidence: float = 0.95) -> float:
    """The one-sided exact upper limit of a rate (Clopper and Pearson 1934); 1 without trials.

    In `confidence` of all samples the true rate does not lie above it. None of n gives `1 - (1 - confidence) ** (1 / n)`.
    """
    if successes >= trials:
        return 1.0
    low, high = successes / trials, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if _binomial_up_to(successes, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _binomial_up_to(successes: int, trials: int, rate: float) -> float:
    """The probability of so many successes or fewer."""
    if rate <= 0 or successes >= trials:
        return 1.0
    if rate >= 1:
        return 0.0
    counts = np.arange(successes + 1)
    combinations = [math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) for k in counts.tolist()]
    logs = np.array(combinations) + counts * math.log(rate) + (trials - counts) * math.log1p(-rate)
    return float(min(1.0, np.exp(logs).sum()))
