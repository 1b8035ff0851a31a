"""The rungs of the ladder, from the share of verdicts to everything that is known, and how each is fitted and asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.critic.columns import Embeddings, apply, has, learn
from flenwheel_core.critic.logistic import Array, chances, fit_by_evidence
from flenwheel_core.documents.critics import VERDICTS, Block, CriticLesson, Fitted, Judgeable, RungName, Transform

FREE = 1e-3
"""Penalty of the constant: next to none."""
PENALTY: dict[Block, float] = {"character": 1.0, "identity": 0.1, "screening": 0.5, "embedding": 1.0, "vision": 0.2}
"""Of a column with variance 1. A character's own correction is shrunk towards what holds for all."""
STACKED_PENALTY = 0.5
FACTORS = (1.0, 8.0, 64.0)
"""Penalties are tried times these: how much a reviewer's verdicts follow what is known, only the verdicts tell."""
STACK_FOLDS = 4
LEAST_PULL = 0.25
"""Log-odds that a figure takes from a picture before it is named."""


@dataclass(frozen=True)
class Rung:
    """One rung: what it reads, or what it stacks."""

    name: RungName
    blocks: tuple[Block, ...] = ("character",)
    stacks: tuple[RungName, ...] = ()


LADDER: tuple[Rung, ...] = (
    Rung("base_rate"),
    Rung("identity", ("character", "identity")),
    Rung("screening", ("character", "screening")),
    Rung("embedding", ("character", "embedding")),
    # Its block holds the log-odds that a vision-language model gave to pictures it had not learned from.
    Rung("vision", ("character", "vision")),
    Rung("stacked", (), ("screening", "embedding", "vision")),
)
RUNGS: dict[RungName, Rung] = {rung.name: rung for rung in LADDER}


def can_be_tried(rung: Rung, lessons: Sequence[CriticLesson], embeddings: Embeddings) -> bool:
    """True if the lessons say what the rung reads; a stack needs two rungs that can be tried."""
    if rung.stacks:
        return len(_members(rung, lessons, embeddings)) > 1
    return all(has(block, lessons, embeddings) for block in rung.blocks)


def fit_rung(rung: Rung, lessons: Sequence[CriticLesson], embeddings: Embeddings, groups: Sequence[str]) -> Fitted:
    """The rung, learned. `groups` say which lessons must not be split between learning and trying, where it stacks."""
    if rung.stacks:
        return _fit_stack(rung, lessons, embeddings, groups)
    transforms = tuple(learn(block, lessons, embeddings) for block in rung.blocks)
    columns, widths = _columns(rung.blocks, transforms, lessons, embeddings)
    penalty = np.concatenate([[FREE], *(np.full(w, PENALTY[b]) for b, w in zip(rung.blocks, widths, strict=True))])
    weights = fit_by_evidence(columns, outcomes(lessons), penalty, FACTORS)
    return Fitted(rung=rung.name, blocks=rung.blocks, transforms=transforms, weights=_rows(weights))


def ask(fitted: Fitted, pictures: Sequence[Judgeable], embeddings: Embeddings) -> Array:
    """The chances of reject, needs_correction and good, a row a picture."""
    if fitted.members:
        columns = _stacked_columns([ask(member, pictures, embeddings) for member in fitted.members])
    else:
        columns, _ = _columns(fitted.blocks, fitted.transforms, pictures, embeddings)
    return chances(columns, np.asarray(fitted.weights))


def pulls(
    fitted: Fitted, pictures: Sequence[Judgeable], embeddings: Embeddings, most: int = 2
) -> list[tuple[str, ...]]:
    """For each picture the names of the figures that pull it most towards rejection; of a stack by its member that has names."""
    if fitted.members:
        told = [member for member in fitted.members if "screening" in member.blocks]
        return pulls(told[0], pictures, embeddings, most) if told else [()] * len(pictures)
    columns, _ = _columns(fitted.blocks, fitted.transforms, pictures, embeddings)
    weights = np.asarray(fitted.weights)
    names = _column_names(fitted)
    named = [index for index, name in enumerate(names) if name is not None]
    found = []
    for pull in columns * (weights[:, 0] - weights[:, 2]):
        strongest = sorted((i for i in named if pull[i] > LEAST_PULL), key=lambda i: -pull[i])[:most]
        found.append(tuple(name for i in strongest if (name := names[i]) is not None))
    return found


def outcomes(lessons: Sequence[CriticLesson]) -> NDArray[np.intp]:
    """The verdicts as places in `VERDICTS`."""
    return np.asarray([VERDICTS.index(lesson.verdict) for lesson in lessons], dtype=np.intp)


def split(groups: Sequence[str], folds: int) -> NDArray[np.intp]:
    """The fold of each lesson: groups stay whole, and folds come out about as large as each other."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    filled, place = [0] * folds, {}
    for group in sorted(sizes, key=lambda group: (-sizes[group], group)):
        place[group] = filled.index(min(filled))
        filled[place[group]] += sizes[group]
    return np.asarray([place[group] for group in groups], dtype=np.intp)


def _fit_stack(rung: Rung, lessons: Sequence[CriticLesson], embeddings: Embeddings, groups: Sequence[str]) -> Fitted:
    """Members are asked about lessons they did not learn, so that the stack sees them as they are on new pictures."""
    members = [RUNGS[name] for name in _members(rung, lessons, embeddings)]
    folds = split(groups, min(STACK_FOLDS, len(set(groups))))
    tried = [np.zeros((len(lessons), len(VERDICTS))) for _ in members]
    for fold in range(int(folds.max()) + 1 if len(folds) else 0):
        there = np.flatnonzero(folds == fold).tolist()
        known = [index for index in range(len(lessons)) if folds[index] != fold]
        for found, member in zip(tried, members, strict=True):
            learned = fit_rung(member, [lessons[i] for i in known], embeddings, [groups[i] for i in known])
            found[there] = ask(learned, [lessons[i] for i in there], embeddings)
    columns = _stacked_columns(tried)
    penalty = np.concatenate([[FREE], np.full(columns.shape[1] - 1, STACKED_PENALTY)])
    return Fitted(
        rung=rung.name,
        blocks=(),
        transforms=(),
        weights=_rows(fit_by_evidence(columns, outcomes(lessons), penalty, FACTORS)),
        members=tuple(fit_rung(member, lessons, embeddings, groups) for member in members),
    )


def _members(rung: Rung, lessons: Sequence[CriticLesson], embeddings: Embeddings) -> tuple[RungName, ...]:
    return tuple(name for name in rung.stacks if can_be_tried(RUNGS[name], lessons, embeddings))


def _columns(
    blocks: Sequence[Block], transforms: Sequence[Transform], pictures: Sequence[Judgeable], embeddings: Embeddings
) -> tuple[Array, list[int]]:
    parts = [apply(b, t, pictures, embeddings) for b, t in zip(blocks, transforms, strict=True)]
    constant = np.ones((len(pictures), 1))
    return np.hstack([constant, *parts]), [part.shape[1] for part in parts]


def _column_names(fitted: Fitted) -> list[str | None]:
    """A name for each column that people can read; None for the others."""
    found: list[str | None] = [None]
    for block, transform in zip(fitted.blocks, fitted.transforms, strict=True):
        readable = block in ("identity", "screening", "vision")
        width = len(transform.axes) if block == "embedding" else len(transform.names)
        found += list(transform.names) if readable else [None] * width
    return found


def _stacked_columns(parts: Sequence[Array]) -> Array:
    logs = [np.log(part) for part in parts]
    return np.hstack([np.ones((len(parts[0]), 1)), *(part[:, :2] - part[:, 2:] for part in logs)])


def _rows(weights: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.7g}") for value in row) for row in weights.tolist())
