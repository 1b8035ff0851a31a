"""In which order the pictures of a gate are looked at, why each stands where it stands, and which of them may be set aside.

The order decides when a picture is shown, never whether. Two orders, both with some pictures at places drawn by lot: what teaches the
critic most (the doubtful first, spread over the sources, the hopeless last), and what finds good pictures soonest. A picture's lot is a
function of gate and picture, so it is drawn once: the lowest lots are the audit, which is shown whatever the critic says.
"""

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from flenwheel_core.base.ids import Digest, derive_seed
from flenwheel_core.critic.calibration import Wanted, cut_for, goods_needed, not_rejected
from flenwheel_core.critic.columns import Embeddings
from flenwheel_core.critic.logistic import Array
from flenwheel_core.critic.rungs import ask, pulls
from flenwheel_core.documents.critics import Critic, CriticView, Cut, Judgeable, ScoredPicture

_ONE = 2**63
SAME_SOURCE_AGAIN = 0.8
"""What a further picture of a source teaches, against the one before."""
LIKELY_REASON = 0.5
GOOD = 2


@dataclass(frozen=True)
class Rules:
    """What a person chose: how much is drawn by lot, what may be lost, and whether anything is set aside."""

    random_share: float = 0.15
    audit_share: float = 0.1
    wanted: Wanted = field(default_factory=Wanted)
    rejects: bool = False
    not_because: str = "automatic rejection is off in the recipe"
    """Why nothing is set aside, if `rejects` is False."""


@dataclass(frozen=True)
class Known:
    """A critic, by its digest."""

    digest: Digest
    critic: Critic


def lot(gate: str, image: Digest) -> float:
    """The lot of a picture at a gate, from 0 to 1."""
    return derive_seed(0, "critic", gate, image) / _ONE


def view_gate(
    gate: str,
    pictures: Sequence[Judgeable],
    embeddings: Embeddings,
    orders: Known | None,
    guard: Known | None,
    rules: Rules,
) -> CriticView:
    """What the critic says of a gate.

    `guard` is the promoted critic and bounds the loss. Without one, the critic that orders says what it would do.
    """
    chances = ask(orders.critic.fitted, pictures, embeddings) if orders is not None and pictures else None
    watching = guard or orders
    cut = _cut(watching, pictures, rules)
    scores = (
        guard_scores(watching.critic, pictures, embeddings).tolist() if watching is not None and cut is not None else []
    )
    hopeless = _below(scores, cut.below if cut is not None else None, len(pictures))
    low = _below(scores, cut.low_below if cut is not None else None, len(pictures))
    audit = [lot(gate, picture.image) < rules.audit_share for picture in pictures]
    by_lot = [lot(gate, picture.image) < max(rules.random_share, rules.audit_share) for picture in pictures]
    aside = [rules.rejects and hopeless[i] and not audit[i] for i in range(len(pictures))]
    if chances is None or orders is None or orders.critic.rung == "base_rate":
        useful = good = _spread(pictures)
    else:
        useful = _by_value(_doubt(chances, hopeless), pictures)
        good = sorted(range(len(pictures)), key=lambda i: (-chances[i, GOOD], i))
    useful_places, good_places = (_places(_mixed(order, by_lot, gate, pictures, hopeless)) for order in (useful, good))
    likely = _reasons(orders.critic, pictures, embeddings) if orders is not None else [()] * len(pictures)
    pulled = pulls(orders.critic.fitted, pictures, embeddings) if orders is not None else [()] * len(pictures)
    rows = tuple(
        ScoredPicture(
            image=picture.image,
            chances=None if chances is None else _three(chances[i]),
            reasons=likely[i],
            useful_place=useful_places[i],
            good_place=good_places[i],
            why=_why(_good(chances, orders, i), pulled[i], by_lot[i], hopeless=hopeless[i], audit=audit[i]),
            by_lot=by_lot[i],
            says_reject=hopeless[i],
            low=low[i],
            audit=audit[i],
            set_aside=aside[i],
        )
        for i, picture in enumerate(pictures)
    )
    spared = sum(hopeless[i] and not audit[i] for i in range(len(pictures)))
    look_at = len(pictures) - spared
    return CriticView(
        critic=orders.digest if orders is not None else None,
        rung=orders.critic.rung if orders is not None else None,
        verdicts=orders.critic.count if orders is not None else 0,
        guard=watching.digest if watching is not None else None,
        cut=cut,
        rejects=rules.rejects and cut is not None,
        look_at=look_at,
        said=_said(len(pictures), look_at, cut, watching, rules),
        pictures=rows,
    )


def promise(cut: Cut) -> str:
    """The bound in words, such as "at most 2 % good ones lost (95 %, 212 goods)"."""
    pooled = {
        "editor": "",
        "character": ", pooled over editors",
        "stage": ", pooled over characters",
        "all": ", pooled over everything",
    }[cut.level]
    return f"at most {100 * cut.bound:.1f} % good ones lost ({100 * cut.confidence:.0f} %, {cut.goods} goods{pooled})"


def _said(number: int, look_at: int, cut: Cut | None, watching: Known | None, rules: Rules) -> str:
    if watching is None:
        return "The critic has not learned yet: every picture waits for you."
    if cut is None:
        needed = goods_needed(rules.wanted)
        most = max((one.goods for one in watching.critic.calibrations), default=0)
        return (
            f"The critic knows {watching.critic.count} verdicts, too few to promise anything: {most} of the {needed} held-out "
            f"good pictures that a loss of at most {100 * rules.wanted.most_lost:g} % asks for."
        )
    if rules.rejects:
        return (
            f"Of {number} pictures you have to look at {look_at}; {promise(cut)}. "
            "The others are set aside; you can look at them, too."
        )
    return (
        f"Of {number} pictures you would have to look at {look_at}; {promise(cut)}. "
        f"Nothing is set aside: {rules.not_because}."
    )


def _cut(watching: Known | None, pictures: Sequence[Judgeable], rules: Rules) -> Cut | None:
    """One limit for the gate: its pictures have one character and stage, and were made by one editor."""
    if watching is None or not pictures or not watching.critic.folds:
        return None
    common = Counter(picture.editor for picture in pictures).most_common(1)[0][0]
    picture = next(picture for picture in pictures if picture.editor == common)
    return cut_for(watching.critic, picture, rules.wanted)


def _below(scores: Sequence[float], limit: float | None, pictures: int) -> list[bool]:
    if limit is None:
        return [False] * pictures
    return [score < limit for score in scores]


def guard_scores(critic: Critic, pictures: Sequence[Judgeable], embeddings: Embeddings) -> Array:
    """The highest score that any fold model gives: what only some of them would reject is not rejected.

    Each reads what its own LoRA of the looker says, which has not seen the turns of that fold either.
    """
    each = [
        not_rejected(ask(fold, [_seen_by(picture, number) for picture in pictures], embeddings))
        for number, fold in enumerate(critic.folds)
    ]
    found: Array = np.max(each, axis=0)
    return found


def _seen_by(picture: Judgeable, fold: int) -> Judgeable:
    if len(picture.vision) <= 2:
        return picture
    return picture.model_copy(update={"vision": picture.vision[2 * fold : 2 * fold + 2]})


def _doubt(chances: Array, hopeless: Sequence[bool]) -> list[float]:
    good = chances[:, GOOD]
    doubt = 4 * good * (1 - good)
    return [-1.0 if lost else float(value) for value, lost in zip(doubt, hopeless, strict=True)]


def _by_value(values: Sequence[float], pictures: Sequence[Judgeable]) -> list[int]:
    """The most valuable first, where a further picture of the same source is worth less each time."""
    sources = [picture.source or picture.image for picture in pictures]
    taken = Counter[str]()
    left = [(-value, index, 0) for index, value in enumerate(values)]
    heapq.heapify(left)
    order: list[int] = []
    while left:
        _, index, before = heapq.heappop(left)
        now = taken[sources[index]]
        if now > before:
            heapq.heappush(left, (-_worth(values[index], now), index, now))
            continue
        order.append(index)
        taken[sources[index]] += 1
    return order


def _worth(value: float, before: int) -> float:
    return value * SAME_SOURCE_AGAIN**before if value > 0 else value


def _spread(pictures: Sequence[Judgeable]) -> list[int]:
    """Nothing is known: one picture of each source, then the next of each; within a source the typical first."""
    by_source: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        by_source.setdefault(picture.source or "", []).append(index)
    for found in by_source.values():
        near = {i: _similarity(pictures[i]) for i in found}
        middle = float(np.median(list(near.values())))
        found.sort(key=lambda i: (abs(near[i] - middle), i))
    order: list[int] = []
    for depth in range(max((len(found) for found in by_source.values()), default=0)):
        order += [found[depth] for found in by_source.values() if depth < len(found)]
    return order


def _similarity(picture: Judgeable) -> float:
    row = picture.screening
    return 0.0 if row is None or row.similarity is None else row.similarity


def _mixed(
    order: Sequence[int], by_lot: Sequence[bool], gate: str, pictures: Sequence[Judgeable], hopeless: Sequence[bool]
) -> list[int]:
    """The order with the drawn pictures spread evenly over it by a second lot. Hopeless ones that were not drawn stay last."""
    drawn = [i for i in order if by_lot[i]]
    drawn.sort(key=lambda i: derive_seed(1, "critic", gate, pictures[i].image))
    others = sorted((i for i in order if not by_lot[i]), key=lambda i: hopeless[i])
    looked_at = max(1, sum(not hopeless[i] for i in others))
    found: list[int] = []
    placed = 0
    for place, index in enumerate(others):
        while placed < len(drawn) and placed + 0.5 <= len(drawn) * place / looked_at:
            found.append(drawn[placed])
            placed += 1
        found.append(index)
    return found + drawn[placed:]


def _places(order: Sequence[int]) -> list[int]:
    """The place of each picture in an order."""
    places = [0] * len(order)
    for place, index in enumerate(order):
        places[index] = place
    return places


def _three(row: Array) -> tuple[float, float, float]:
    first, second, third = (float(f"{value:.4f}") for value in row.tolist())
    return first, second, third


def _reasons(critic: Critic, pictures: Sequence[Judgeable], embeddings: Embeddings) -> list[tuple[str, ...]]:
    """The likely reasons for each picture, if it is not good; the likeliest first."""
    found: list[list[tuple[float, str]]] = [[] for _ in pictures]
    for one in critic.reasons:
        for row, chance in zip(found, ask(one.fitted, pictures, embeddings)[:, GOOD].tolist(), strict=True):
            if chance > LIKELY_REASON:
                row.append((-chance, one.reason))
    return [tuple(code for _, code in sorted(row)) for row in found]


def _good(chances: Array | None, orders: Known | None, index: int) -> float | None:
    """The chance that a picture is good; None while nothing is known of any."""
    if chances is None or orders is None or orders.critic.rung == "base_rate":
        return None
    return float(chances[index, GOOD])


def _why(good: float | None, pulled: tuple[str, ...], by_lot: bool, *, hopeless: bool, audit: bool) -> str:
    """Why a picture stands where it stands, in words."""
    if good is None:
        return "drawn by lot" if by_lot else "nothing is known yet: the sources take turns"
    said = f"{100 * good:.0f} % good" + (f"; against it: {', '.join(pulled)}" if pulled and good < 0.5 else "")
    if hopeless and audit:
        return f"audit, drawn by lot: the critic would reject it ({said})"
    if by_lot:
        return f"drawn by lot, so that the critic is measured fairly ({said})"
    if hopeless:
        return f"hopeless, so last: {said}"
    if 0.25 <= good <= 0.75:
        return f"doubtful: {said}"
    return f"rather sure: {said}"
