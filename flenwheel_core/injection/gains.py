"""How much of an identity an injection brings at one strength, with an interval: over identities, or over one's own pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from flenwheel_core.base.statistics import Interval, bootstrap_interval
from flenwheel_core.injection.measures import PROMPT_LOSS
from flenwheel_core.requests.inject import InjectionCell, Method

Unit = Literal["identity", "picture"]


@dataclass(frozen=True)
class PairedGain:
    """Injection against its control, picture by picture: the same identity, prompt and seed."""

    alpha: float
    control: Method
    identity: Interval
    """Cosine to held-out photos above that of the control."""
    lost: Interval | None
    """What of the prompt is lost against alpha 0, as a share; None where nobody reads it."""
    pairs: int

    def text(self) -> str:
        """Such as `+0.41 identity (+0.20 to +0.63) over another identity's photos at alpha 1, in 6 pairs of pictures`."""
        control = "another identity's photos" if self.control == "shuffled" else "photos of nobody in particular"
        found = self.identity
        words = f"{found.value:+.2f} identity ({found.low:+.2f} to {found.high:+.2f}) over {control} at alpha {self.alpha:g}"
        lost = (
            "" if self.lost is None else f", prompts followed {round(-100 * self.lost.value):+d} points against alpha 0"
        )
        return f"{words}{lost}, in {self.pairs} pairs of pictures"

    @property
    def beats(self) -> bool:
        """True if the whole interval lies above the control, and prompts are followed as without injection."""
        return self.identity.low > 0 and (self.lost is None or self.lost.value <= PROMPT_LOSS)


def paired_gain(cells: Sequence[InjectionCell], alpha: float, *, over: Unit) -> PairedGain | None:
    """At this strength, with a 95 % interval over identities, or over the pictures of one; None where nothing can be compared.

    Identities are what a claim about people not seen yet needs; for one character its own pictures are all there is.
    """
    table = {(one.method, one.alpha, one.identity, one.prompt, one.seed): one for one in cells}
    for control in ("shuffled", "average"):
        gained: dict[object, list[float]] = {}
        lost: dict[object, list[float]] = {}
        pairs = 0
        for one in cells:
            if one.method != "injection" or one.alpha != alpha:
                continue
            unit = one.identity if over == "identity" else (one.identity, one.prompt, one.seed)
            other = table.get((control, alpha, one.identity, one.prompt, one.seed))
            if other is not None and one.likeness is not None and other.likeness is not None:
                gained.setdefault(unit, []).append(one.likeness - other.likeness)
                pairs += 1
            without = table.get(("injection", 0.0, one.identity, one.prompt, one.seed))
            if without is not None and without.kept is not None and one.kept is not None:
                lost.setdefault(unit, []).append(without.kept - one.kept)
        if gained:
            return PairedGain(alpha, control, _interval(gained), _interval(lost) if lost else None, pairs)
    return None


def tried_gain(cells: Sequence[InjectionCell], seeds: Sequence[int]) -> PairedGain | None:
    """Of one identity: its strength is chosen on the first seed, and what it brings is measured on the others; None without a measure.

    Strengths that lose more of the prompt than is allowed are only chosen where all do.
    """
    looked = [cell for cell in cells if cell.seed == seeds[0]]
    alphas = dict.fromkeys(cell.alpha for cell in cells if cell.method == "injection" and cell.alpha > 0)
    found = [one for alpha in alphas if (one := paired_gain(looked, alpha, over="picture")) is not None]
    keeping = [one for one in found if one.lost is None or one.lost.value <= PROMPT_LOSS]
    best = max(keeping or found, key=lambda one: one.identity.value, default=None)
    if best is None:
        return None
    return paired_gain([cell for cell in cells if cell.seed != seeds[0]], best.alpha, over="picture")


def _interval(units: dict[object, list[float]]) -> Interval:
    means = np.array([float(np.mean(values)) for values in units.values()])
    return bootstrap_interval(len(means), lambda chosen: float(means[chosen].mean()), rounds=2000)
