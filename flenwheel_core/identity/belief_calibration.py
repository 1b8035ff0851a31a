"""How much a reading of angle, expression or a spoiled face must be believed, fitted to the verdicts of people.

Two limits a reading: from one on a picture is a question, from the other on it is removed unseen. The first balances precision
and recall. The second is proposed only if, on pictures that it was not fitted to, nearly all it removes was really wrong; what
one workspace's reviewers and generator make of a reading, no figure from elsewhere can say.

Nothing is changed here: the proposal prints lines for the recipe. Pictures that screening failed were not judged, and expressions
below the reader's own floor (`expressions.KNOWN_FROM`) are unknown: nothing can be fitted below it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from flenwheel_core.base.document import Document
from flenwheel_core.base.statistics import Interval, wilson
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.scores import BELIEFS, ReasonCode, Screening
from flenwheel_core.recipes.screening import ScreeningRecipe

ReadingKind = Literal["angle", "expression", "spoiled"]
KINDS: tuple[ReadingKind, ...] = ("angle", "expression", "spoiled")
NAMES: dict[ReadingKind, str] = {
    "angle": "another angle or pose",
    "expression": "another expression",
    "spoiled": "a spoiled face",
}
REVIEWERS_SAY: dict[ReadingKind, frozenset[str]] = {
    "angle": frozenset({"angle"}),
    "expression": frozenset({"expression"}),
    "spoiled": frozenset({"anatomy", "artifacts"}),
}
CODES: dict[ReadingKind, frozenset[ReasonCode]] = {
    "angle": frozenset({"wrong_angle", "wrong_pose"}),
    "expression": frozenset({"wrong_expression"}),
    "spoiled": frozenset({"spoiled_face"}),
}
MINIMUM_GOOD, MINIMUM_WRONG = 40, 15
"""Verdicts below which nothing is proposed."""
GOOD_LOST = 0.02
"""Share of good pictures that a removal may cost."""
REMOVED_WRONG = 0.9
"""Share of wrong ones among the removed that a limit is fitted for."""
REMOVED_WRONG_AT_LEAST = 0.8
"""... and the lower end of its 95 % interval on pictures that the limit was not fitted to."""
GOOD_LOST_AT_MOST = 0.05
"""The upper end of the 95 % interval of that share, on pictures that the limit was not fitted to. It takes 73 good pictures of which
none is lost, 110 of which 1, 142 of which 2. For an upper end of 2 % it would take 189 at least, more than a few gates give."""
PARTS = 5
STEP = 0.0001
"""Beliefs are kept with four places."""

Rate = tuple[float, float, float]


@dataclass(frozen=True)
class JudgedReading:
    """What a reading says against a picture, and what a person said."""

    image: str
    belief: float
    """0 where the reading says nothing against it, or cannot tell."""
    wrong: bool


@dataclass(frozen=True)
class Evidence:
    """The judged pictures of one kind of reading."""

    kind: ReadingKind
    judged: tuple[JudgedReading, ...]
    unread: int = 0
    """Judged pictures without a belief: screened before beliefs were kept as they are now, or by something that reads nothing."""

    @property
    def wrong(self) -> int:
        return sum(one.wrong for one in self.judged)

    @property
    def good(self) -> int:
        return len(self.judged) - self.wrong

    @property
    def enough(self) -> bool:
        return self.good >= MINIMUM_GOOD and self.wrong >= MINIMUM_WRONG

    def too_few(self) -> str:
        """Why nothing is proposed."""
        say = " or ".join(sorted(REVIEWERS_SAY[self.kind]))
        unread = f"; {self.unread} more were screened without a belief of today's readers" if self.unread else ""
        return (
            f"too few verdicts: {self.good} good and {self.wrong} with the reason {say}, where {MINIMUM_GOOD} and "
            f"{MINIMUM_WRONG} are needed{unread}."
        )


class Flagged(Document):
    """What a limit does to the judged pictures; each rate with its 95 % Wilson interval."""

    limit: float | None
    precision: Rate
    """Wrong ones among those it flags."""
    recall: Rate
    """Flagged ones among the wrong ones."""
    good_lost: Rate
    """Flagged ones among the good ones."""

    def text(self) -> str:
        """For a terminal."""
        parts = (("of these wrong", self.precision), ("of wrong ones", self.recall), ("of good ones", self.good_lost))
        return ", ".join(f"{name} {Interval(*values).text()}" for name, values in parts)


class ReadingProposal(Document):
    """Fitted limits of one kind of reading beside the present ones."""

    kind: ReadingKind
    good: int
    wrong: int
    now: Flagged
    """At the present limit of a question."""
    ask: Flagged
    """At the fitted limit of a question, which was fitted to these very pictures."""
    removal_now: Flagged
    """At the present limit of a removal; without one at the limit of a question, where gate B removes by its own rule."""
    gate_b_removes: bool
    """Without a limit of a removal gate B removes by its own rule what it would ask about."""
    own_rule: bool
    """... and does so now, since the recipe has none."""
    removal: Flagged
    """Its rates are those of pictures that the limit was not fitted to; its limit is None if it would remove too many good ones."""
    parts: int
    """Of PARTS, those for which the other pictures gave a limit of a removal."""

    def recipe_lines(self) -> list[str]:
        """Settings of the recipe's [screening], which a recipe takes together; what to delete there stands as a comment."""
        ask, remove = setting_names(self.kind)
        lines = [f"{ask} = {self.ask.limit:g}"]
        if self.removal.limit is not None:
            lines.append(f"{remove} = {self.removal.limit:g}")
        elif self.removal_now.limit is None or self.own_rule:
            pass
        elif self.gate_b_removes:
            lines.append(
                f"{remove} = 1  # instead of {self.removal_now.limit:g}; without the line gate B removes at any belief"
            )
        else:
            lines.append(f"# delete the line {remove} = {self.removal_now.limit:g}: the verdicts do not bear it out")
        return lines


def setting_names(kind: ReadingKind) -> tuple[str, str]:
    """The recipe's settings of a question and of a removal."""
    return (
        (f"{kind}_unsure_above", f"{kind}_fail_above")
        if kind == "spoiled"
        else (f"{kind}_unsure_from", f"{kind}_fail_from")
    )


def evidence(kind: ReadingKind, screenings: Iterable[Screening], decisions: Iterable[FinalDecision]) -> Evidence:
    """The beliefs of judged pictures, each once. Good ones count, and others if the reviewer gave a reason of this kind."""
    by_image = {decision.image: decision for decision in decisions if not decision.by_policy}
    judged, unread = [], 0
    for row in one_an_image(screenings):
        decision = by_image.get(row.image)
        if decision is None:
            continue
        wrong = decision.verdict is not Verdict.GOOD and bool(REVIEWERS_SAY[kind] & set(decision.reasons))
        if not wrong and decision.verdict is not Verdict.GOOD:
            continue
        belief = _belief(kind, row)
        if belief is None:
            unread += 1
        else:
            judged.append(JudgedReading(row.image, belief, wrong))
    if not any(one.belief for one in judged):  # nothing reads this here: what it misses says nothing
        return Evidence(kind, (), unread + len(judged))
    return Evidence(kind, tuple(judged), unread)


def one_an_image(screenings: Iterable[Screening]) -> list[Screening]:
    """The last row of each picture, one with today's beliefs before others: what two gates showed is no second witness."""
    kept: dict[str, Screening] = {}
    for row in screenings:
        if row.image not in kept or row.beliefs == BELIEFS or kept[row.image].beliefs != BELIEFS:
            kept[row.image] = row
    return list(kept.values())


def _belief(kind: ReadingKind, row: Screening) -> float | None:
    """What speaks against the picture, 0 if nothing does; None if it was not kept, or is a figure of other readers."""
    if row.beliefs != BELIEFS:
        return None
    if kind == "spoiled":
        return row.spoiled
    against = [reason.value for reason in row.reasons if reason.code in CODES[kind]]
    return None if None in against else max((value for value in against if value is not None), default=0.0)


def propose(found: Evidence, recipe: ScreeningRecipe, *, gate_b_removes: bool = False) -> ReadingProposal | None:
    """Limits that fit the verdicts; None if there are too few of them.

    `gate_b_removes` is gate B's own rule about this subject's readings (`LabelLimits.gate_b_removes`).
    """
    if not found.enough:
        return None
    judged = found.judged
    ask_name, remove_name = setting_names(found.kind)
    asked_now, removed_now = getattr(recipe, ask_name) or 0.0, getattr(recipe, remove_name)
    gate_b_removes = gate_b_removes and found.kind != "spoiled"
    own_rule = gate_b_removes and removed_now is None
    ask = _best_balance(found.kind, judged)
    held_out = [_held_out(found.kind, judged, part) for part in range(PARTS)]
    counts = _counts(found.kind, (pair for pairs, limit in held_out for pair in ((one, limit) for one in pairs)))
    parts = sum(limit is not None for _, limit in held_out)
    precision, lost = wilson(counts[0], counts[0] + counts[1]), wilson(counts[1], found.good)
    sure = precision.low >= REMOVED_WRONG_AT_LEAST and lost.value <= GOOD_LOST and lost.high <= GOOD_LOST_AT_MOST
    # A part without a limit loses nothing: with it among the others the loss would look smaller than it is.
    removal = _removes_wrong_ones(found.kind, judged) if sure and parts == PARTS else None
    return ReadingProposal(
        kind=found.kind,
        good=found.good,
        wrong=found.wrong,
        now=flagged(found, asked_now),
        ask=flagged(found, ask if removal is None else min(ask, removal)),
        removal_now=flagged(found, asked_now if own_rule else removed_now),
        gate_b_removes=gate_b_removes,
        own_rule=own_rule,
        removal=_rates(counts, found, removal),
        parts=parts,
    )


def _held_out(
    kind: ReadingKind, judged: Sequence[JudgedReading], part: int
) -> tuple[list[JudgedReading], float | None]:
    """The pictures of this part, with a removal's limit fitted to the others. Parts are told by the pictures' digests."""
    parts = [int(one.image[:8], 16) % PARTS for one in judged]
    limit = _removes_wrong_ones(kind, [one for one, at in zip(judged, parts, strict=True) if at != part])
    return [one for one, at in zip(judged, parts, strict=True) if at == part], limit


def _limits(kind: ReadingKind, judged: Sequence[JudgedReading]) -> list[float]:
    """Limits that tell the beliefs that occur from all lower ones, ascending: 'from' is at a belief, 'above' a step below it."""
    steps = sorted({math.floor(round(one.belief / STEP, 6)) for one in judged if one.belief > 0})
    return [round((max(at - 1, 0) if kind == "spoiled" else at) * STEP, 4) for at in steps]


def _removes_wrong_ones(kind: ReadingKind, judged: Sequence[JudgedReading]) -> float | None:
    """The smallest limit whose removals are nearly all wrong and cost few good ones; None if no limit does that."""
    allowed = GOOD_LOST * sum(not one.wrong for one in judged)
    for limit in _limits(kind, judged):
        wrong, good, _ = _counts(kind, ((one, limit) for one in judged))
        if wrong >= REMOVED_WRONG * (wrong + good) and good <= allowed:
            return limit
    return None


def _best_balance(kind: ReadingKind, judged: Sequence[JudgedReading]) -> float:
    """The limit with the best harmonic mean of precision and recall."""

    def balance(limit: float) -> float:
        wrong, good, missed = _counts(kind, ((one, limit) for one in judged))
        return 2 * wrong / (2 * wrong + good + missed)

    return max(_limits(kind, judged), key=balance)


def _counts(kind: ReadingKind, pairs: Iterable[tuple[JudgedReading, float | None]]) -> tuple[int, int, int]:
    """Of pictures, each with the limit that is applied to it: wrong ones flagged, good ones flagged, wrong ones missed."""
    wrong = good = missed = 0
    for one, limit in pairs:
        flagged = limit is not None and one.belief > 0 and _reaches(kind, one.belief, limit)
        wrong += one.wrong and flagged
        good += not one.wrong and flagged
        missed += one.wrong and not flagged
    return wrong, good, missed


def _reaches(kind: ReadingKind, belief: float, limit: float) -> bool:
    """As `identity.screening` compares: `*_above` for spoiled faces, `*_from` for the others."""
    return belief > limit if kind == "spoiled" else belief >= limit


def flagged(found: Evidence, limit: float | None) -> Flagged:
    """What this limit does to these pictures."""
    return _rates(_counts(found.kind, ((one, limit) for one in found.judged)), found, limit)


def _rates(counts: tuple[int, int, int], found: Evidence, limit: float | None) -> Flagged:
    wrong, good, _ = counts
    rates = (wilson(wrong, wrong + good), wilson(wrong, found.wrong), wilson(good, found.good))
    precision, recall, good_lost = ((round(one.value, 4), round(one.low, 4), round(one.high, 4)) for one in rates)
    return Flagged(limit=limit, precision=precision, recall=recall, good_lost=good_lost)


def lines(found: Evidence, proposal: ReadingProposal | None) -> list[str]:
    """What a person reads about one kind of reading."""
    head = f"Readings of {NAMES[found.kind]}"
    if proposal is None:
        return [f"{head}: {found.too_few()}"]
    word = "above" if found.kind == "spoiled" else "from"
    ask_name, remove_name = setting_names(found.kind)
    now, removal = proposal.removal_now, proposal.removal
    shown = [
        f"{head}: {proposal.good} good pictures, {proposal.wrong} that reviewers called wrong for it.",
        f"  asks now ({word} {proposal.now.limit:g}): {proposal.now.text()}",
        f"  asks, fitted ({word} {proposal.ask.limit:g}): {proposal.ask.text()}",
        f"  With {ask_name} a weaker reading passes: an answer with take_passed takes such pictures undecided, with the caption asked for.",
    ]
    if proposal.own_rule:
        shown.append(f"  removes now, at gate B by its own rule ({word} {now.limit:g}, as it asks): {now.text()}")
    elif now.limit is not None:
        shown.append(f"  removes now ({word} {now.limit:g}): {now.text()}")
    if removal.limit is not None:
        return [
            *shown,
            f"  removes, fitted ({word} {removal.limit:g}), on pictures it was not fitted to: {removal.text()}",
        ]
    told = f" Such limits reached: {removal.text()}." if removal.recall[0] else ""
    if proposal.parts < PARTS:
        told += f" Of {PARTS} parts of the pictures the others gave a limit for {proposal.parts} only."
    shown.append(
        f"  removes, fitted: no limit is borne out. On pictures that it was not fitted to, at least {REMOVED_WRONG_AT_LEAST:.0%} of "
        f"the removed must surely be wrong, and at most {GOOD_LOST:.0%} of the good ones lost, surely no more than "
        f"{GOOD_LOST_AT_MOST:.0%}.{told}"
    )
    if proposal.own_rule:
        shown.append(
            f"  Without {remove_name} gate B goes on removing by its own rule; {remove_name} = 1 makes nearly all of it a question."
        )
    elif now.limit is not None and proposal.gate_b_removes:
        shown.append(f"  The present limit is not borne out either: put {remove_name} = 1 into its place.")
    elif now.limit is not None:
        shown.append(f"  The present limit is not borne out either: delete the recipe's line {remove_name}.")
    return shown
