"""What the pictures of an injection show, over many of them, and the one sentence that says whether it works."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.documents.images import Labels
from flenwheel_core.evaluation.diversity import diversity
from flenwheel_core.requests.inject import InjectionCell, InjectionFigures, Method

GAIN = 0.30
"""Identity above that of a shuffled identity by so much, at prompts followed as without injection, is called working."""
PROMPT_LOSS = 0.02
READ = ("angle", "expression", "pose", "background", "lighting", "style")


@dataclass(frozen=True)
class Shown:
    """A picture's small copy, for diversity."""

    cell: InjectionCell
    known: bool | None
    thumbnail: NDArray[np.uint8]


def kept_share(asked: Labels, found: Labels) -> float | None:
    """Of what was asked for, the share that is there; None if nothing was. What the reader is unsure of is not there."""
    wanted = {name: value for name in READ if (value := getattr(asked, name)) is not None}
    if not wanted:
        return None
    right = [bool(getattr(found, name) == value) for name, value in wanted.items()]
    return sum(right) / len(right)


def figures_of(shown: Sequence[Shown], turned: Mapping[float, float] | None = None) -> tuple[InjectionFigures, ...]:
    """Means of each method and strength, known and unknown identities apart; `turned` are degrees by alpha."""
    groups: dict[tuple[Method, float, bool | None], list[Shown]] = {}
    for one in shown:
        groups.setdefault((one.cell.method, one.cell.alpha, one.known), []).append(one)
    return tuple(
        InjectionFigures(
            method=method,
            alpha=alpha,
            known=known,
            pictures=len(group),
            identities=len({one.cell.identity for one in group}),
            identity=_mean(group, lambda cell: cell.likeness),
            prompt_kept=_mean(group, lambda cell: cell.kept),
            diversity=_diversity(group),
            copy_paste=_mean(group, _copied),
            sharpness=_mean(group, lambda cell: cell.sharpness) or 0.0,
            turned_degrees=(turned or {}).get(alpha) if method == "injection" else None,
        )
        for (method, alpha, known), group in groups.items()
    )


@dataclass(frozen=True)
class Gain:
    """How much of an identity an injection brings, at the strength that is best for it."""

    alpha: float
    gain: float
    """Identity minus that of the control."""
    lost: float | None
    """What prompts lose against alpha 0."""
    control: Method

    @property
    def works(self) -> bool:
        return self.gain >= GAIN and (self.lost is None or self.lost <= PROMPT_LOSS)


def best_gain(figures: Sequence[InjectionFigures], *, known: bool | None) -> Gain | None:
    """At the strength with the largest gain among those that keep prompts, or among all if none does; None where nothing was measured."""
    table = {(row.method, row.alpha): row for row in figures if row.known == known}
    without = table.get(("injection", 0.0))
    found = []
    for (method, alpha), row in table.items():
        if method != "injection" or alpha == 0 or row.identity is None:
            continue
        for control in ("shuffled", "average"):
            other = table.get((control, alpha))
            if other is not None and other.identity is not None:
                lost = None
                if without is not None and without.prompt_kept is not None and row.prompt_kept is not None:
                    lost = without.prompt_kept - row.prompt_kept
                found.append(Gain(alpha, row.identity - other.identity, lost, control))
                break
    keeping = [one for one in found if one.lost is None or one.lost <= PROMPT_LOSS]
    return max(keeping or found, key=lambda one: one.gain, default=None)


def verdict(figures: Sequence[InjectionFigures]) -> str:
    """One sentence. Identities of which the head does not say whether it learned from them stand for themselves."""
    unsaid = best_gain(figures, known=None)
    if unsaid is not None:
        works = "Works" if unsaid.works else "Does not work"
        return f"{works}, for identities of which the head does not say whether it learned from them: {_said(unsaid)}."
    return verdict_of(best_gain(figures, known=False), best_gain(figures, known=True))


def verdict_of(unknown: Gain | None, known: Gain | None) -> str:
    """The sentence that gains allow, of identities that the head had not seen and of those that it learned from."""
    if unknown is None and known is None:
        return (
            "Nothing was measured: it takes a verifier, photos that are held out, and another identity to compare with."
        )
    if unknown is not None and unknown.works:
        return f"Works for identities it had not seen: {_said(unknown)}."
    rest = "" if unknown is None else f"; for identities it had not seen it does not: {_said(unknown)}"
    if known is not None and known.works:
        return f"Works for the identities it learned from only: {_said(known)}{rest}."
    if known is not None:
        return f"Does not work, also not for the identities it learned from: {_said(known)}{rest}."
    assert unknown is not None
    return f"Does not work for identities it had not seen: {_said(unknown)}."


def _said(one: Gain) -> str:
    control = "another identity's photos" if one.control == "shuffled" else "photos of nobody in particular"
    words = f"{one.gain:+.2f} identity over {control} at alpha {one.alpha:g} (at least {GAIN:+.2f} is asked)"
    if one.lost is None:
        return words
    return f"{words}, prompts followed {round(-100 * one.lost):+d} points against alpha 0"


def _copied(cell: InjectionCell) -> float | None:
    return None if cell.to_photos is None or cell.likeness is None else cell.to_photos - cell.likeness


def _mean(group: Sequence[Shown], value: Callable[[InjectionCell], float | None]) -> float | None:
    found = [number for one in group if (number := value(one.cell)) is not None]
    return round(float(np.mean(found)), 5) if found else None


def _diversity(group: Sequence[Shown]) -> float | None:
    """Mean over identities and prompts that were drawn more than once, each over its seeds."""
    sets: dict[tuple[str, int], list[NDArray[np.uint8]]] = {}
    for one in group:
        sets.setdefault((one.cell.identity, one.cell.prompt), []).append(one.thumbnail)
    found = [diversity(pictures) / len(pictures) for pictures in sets.values() if len(pictures) > 1]
    return round(float(np.mean(found)), 5) if found else None
