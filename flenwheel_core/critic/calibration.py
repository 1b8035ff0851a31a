"""How many good pictures a critic would lose: exact bounds from held-out verdicts, of one character, stage and editor, or pooled.

The critic rejects only what each of its fold models rejects. Each held-out good picture was scored by the one model that had not seen
its turn; with the k-th lowest of n such scores as the limit, the loss has a known distribution whatever the scores are (Wilks 1941),
and k depends on n alone, never on the scores. The bound counts pictures as independent, and holds for pictures like those that were judged:
another taste, editor or prompt plan breaks it. That is what the audit is for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flenwheel_core.base.statistics import upper_limit
from flenwheel_core.critic.logistic import Array
from flenwheel_core.documents.critics import Calibration, Critic, CriticLesson, Cut, Judgeable, Level
from flenwheel_core.documents.decisions import Verdict

KEPT_SCORES = 64
"""The lowest scores that a calibration keeps: more good pictures may not be lost at once anyway."""
LOW_SHARE = 0.25
"""Of held-out good pictures: so many have a low score. More among new good ones tell of another taste."""
_LEVELS: tuple[Level, ...] = ("editor", "character", "stage", "all")


@dataclass(frozen=True)
class Wanted:
    """What a person allows."""

    most_lost: float = 0.02
    """The largest share of good pictures that may be lost."""
    confidence: float = 0.95


def not_rejected(chances: Array) -> Array:
    """The score that the limit is set on: the chance that a picture is good or can be corrected."""
    found: Array = 1.0 - chances[:, 0]
    return found


def calibrations(lessons: Sequence[CriticLesson], chances: Array) -> tuple[Calibration, ...]:
    """For every character, stage and editor, and pooled, the lowest held-out scores of good pictures. Only fair verdicts count."""
    scores = not_rejected(chances).tolist()
    good: dict[tuple[Level, tuple[str | None, ...]], list[float]] = {}
    seen: dict[tuple[Level, tuple[str | None, ...]], int] = {}
    for lesson, score in zip(lessons, scores, strict=True):
        if not lesson.fair:
            continue
        for level in _LEVELS:
            key = (level, _key(level, lesson))
            seen[key] = seen.get(key, 0) + 1
            found = good.setdefault(key, [])
            if lesson.verdict is Verdict.GOOD:
                found.append(score)
    return tuple(
        Calibration(
            level=level,
            character=key[0],
            kind=key[1],
            editor=key[2],
            goods=len(found),
            lowest=tuple(sorted(found)[:KEPT_SCORES]),
            pictures=seen[level, key],
        )
        for (level, key), found in good.items()
    )


def allowed_losses(goods: int, wanted: Wanted) -> int | None:
    """How many of `goods` held-out good pictures may lie below the limit; None if even none of them proves too little."""
    if upper_limit(0, goods, wanted.confidence) > wanted.most_lost:
        return None
    lost = 0
    while lost + 1 < min(goods, KEPT_SCORES) and upper_limit(lost + 1, goods, wanted.confidence) <= wanted.most_lost:
        lost += 1
    return lost


def goods_needed(wanted: Wanted) -> int:
    """Held-out good pictures, none of them lost, that prove the bound."""
    goods = 1
    while upper_limit(0, goods, wanted.confidence) > wanted.most_lost:
        goods += 1
    return goods


def cut_for(critic: Critic, picture: Judgeable, wanted: Wanted) -> Cut | None:
    """The limit for pictures like this one, by the narrowest group that has enough good pictures; None if none has."""
    by_key = {(one.level, (one.character, one.kind, one.editor)): one for one in critic.calibrations}
    for level in _LEVELS:
        found = by_key.get((level, _key(level, picture)))
        lost = allowed_losses(found.goods, wanted) if found is not None else None
        if found is not None and lost is not None:
            rank = min(round(found.goods * LOW_SHARE), len(found.lowest))
            return Cut(
                below=found.lowest[lost],
                lost=lost,
                goods=found.goods,
                bound=upper_limit(lost, found.goods, wanted.confidence),
                confidence=wanted.confidence,
                level=level,
                low_below=found.lowest[rank - 1],
                low_rank=rank,
            )
    return None


def _key(level: Level, picture: Judgeable) -> tuple[str | None, str | None, str | None]:
    narrow = (picture.character, picture.kind, picture.editor)
    return {
        "editor": narrow,
        "character": (picture.character, picture.kind, None),
        "stage": (None, picture.kind, None),
        "all": (None, None, None),
    }[level]
