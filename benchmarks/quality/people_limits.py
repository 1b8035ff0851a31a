"""Are the limits between angles, and the limit of belief in an expression, as good for people on whom they were not chosen?

Both shipped limits were chosen while looking at all of these people. Here they are chosen anew on half of the people and looked at on the
other half, both ways round; beside what the shipped limits do.

    python -m benchmarks.quality.people_limits --pictures FOLDER     # see benchmarks/kit/people_pictures.py; four minutes of one core
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.kit.people_pictures import PeoplePictures, Shown
from benchmarks.result_file import Row, write_part
from flenwheel_core.base.statistics import wilson
from flenwheel_core.identity import expressions
from flenwheel_core.identity.head_turn import FRONT_BELOW, HALF_BELOW
from flenwheel_core.identity.portraits import Portrait, PortraitReader

FRONTS, HALVES = range(10, 41), range(41, 81)
"""Degrees that are tried as the two limits."""
BELIEFS = tuple(step / 100 for step in range(30, 100))
RIGHT_AT_LEAST = 0.85
"""Of the expressions that are called known, so many have to be right on the people on whom the limit is chosen."""


@dataclass(frozen=True)
class Turned:
    """How a person really stands, and how far the head was read to be turned; None where no face was found."""

    person: int
    truth: str
    turn: float | None


@dataclass(frozen=True)
class Faced:
    """What a person really shows, what the network took it for, and how much of its belief that got."""

    person: int
    truth: str
    read: str | None
    belief: float


One = TypeVar("One", Turned, Faced)


def right_of_angles(turned: Iterable[Turned], front: float, half: float) -> list[bool]:
    """Of each picture, whether these limits read it right; one without a face is wrong."""
    return [one.turn is not None and _named(one.turn, front, half) == one.truth for one in turned]


def chosen_limits(turned: Sequence[Turned]) -> tuple[int, int]:
    """The limits that read most of these pictures right; the middle of those that are equally good."""
    rates = {(front, half): sum(right_of_angles(turned, front, half)) for front in FRONTS for half in HALVES}
    best = [limits for limits, right in rates.items() if right == max(rates.values())]
    fronts, halves = ([limits[at] for limits in best] for at in (0, 1))
    middle = float(np.median(fronts)), float(np.median(halves))
    return min(best, key=lambda limits: abs(limits[0] - middle[0]) + abs(limits[1] - middle[1]))


def chosen_belief(faced: Sequence[Faced]) -> float:
    """The lowest limit of belief from which RIGHT_AT_LEAST of the known are right; the highest if none is."""
    for limit in BELIEFS:
        known = [one for one in faced if one.read is not None and one.belief >= limit]
        if known and sum(one.read == one.truth for one in known) >= RIGHT_AT_LEAST * len(known):
            return limit
    return BELIEFS[-1]


def angle_rows(turned: Sequence[Turned]) -> Iterator[Row]:
    """Both halves of the people, and the two together: each read with limits of the other half."""
    right: list[bool] = []
    for name, known, other in _halves(turned):
        front, half = chosen_limits(known)
        found, shipped = right_of_angles(other, front, half), right_of_angles(other, FRONT_BELOW, HALF_BELOW)
        right += found
        yield {
            "case": f"held_out_angle_{name}",
            "front_below": front,
            "half_below": half,
            **_share(found),
            "right_shipped_share": wilson(sum(shipped), len(shipped)).value,
        }
    shipped = right_of_angles(turned, FRONT_BELOW, HALF_BELOW)
    yield {"case": "held_out_angle", **_share(right), "right_shipped_share": wilson(sum(shipped), len(shipped)).value}


def expression_rows(faced: Sequence[Faced]) -> Iterator[Row]:
    """Likewise the limit of belief: of the known how many are right, and of all how many are known."""
    right: list[bool] = []
    pictures = 0
    for name, known, other in _halves(faced):
        limit = chosen_belief(known)
        found, shipped = _known_right(other, limit), _known_right(other, expressions.KNOWN_FROM)
        right, pictures = right + found, pictures + len(other)
        yield {
            "case": f"held_out_expression_{name}",
            "known_from": limit,
            **_share(found, len(other)),
            "right_shipped_share": wilson(sum(shipped), len(shipped)).value,
            "known_shipped_share": len(shipped) / len(other),
        }
    shipped = _known_right(faced, expressions.KNOWN_FROM)
    yield {
        "case": "held_out_expression",
        **_share(right, pictures),
        "right_shipped_share": wilson(sum(shipped), len(shipped)).value,
        "known_shipped_share": len(shipped) / len(faced),
    }


def read_turns(reader: PortraitReader, pictures: Iterable[Shown]) -> list[Turned]:
    """Every picture of known angle, as the reader sees it."""
    return [
        Turned(one.person, one.truth, None if (face := _largest(reader, one)) is None else face.turn)
        for one in pictures
    ]


def read_faces(reader: PortraitReader, pictures: Iterable[Shown]) -> list[Faced]:
    """Every picture of known expression, with the network's answer whatever its belief."""
    shipped, expressions.KNOWN_FROM = expressions.KNOWN_FROM, 0.0
    try:
        faces = [(one, _largest(reader, one)) for one in pictures]
    finally:
        expressions.KNOWN_FROM = shipped
    return [
        Faced(one.person, one.truth, None, 0.0)
        if face is None
        else Faced(one.person, one.truth, face.expression, face.expression_belief or 0.0)
        for one, face in faces
    ]


def _largest(reader: PortraitReader, shown: Shown) -> Portrait | None:
    return next(iter(reader.find(np.asarray(shown.image))), None)


def _named(turn: float, front: float, half: float) -> str:
    if abs(turn) < front:
        return "front"
    return f"{'half' if abs(turn) < half else 'profile'}-{'right' if turn > 0 else 'left'}"


def _halves(seen: Sequence[One]) -> Iterator[tuple[str, list[One], list[One]]]:
    """Every second person to choose on, the others to look at; and the other way round."""
    people = sorted({one.person for one in seen})
    for name, known in (("first", set(people[::2])), ("second", set(people[1::2]))):
        yield (
            f"chosen_on_{name}_half",
            [one for one in seen if one.person in known],
            [one for one in seen if one.person not in known],
        )


def _known_right(faced: Iterable[Faced], limit: float) -> list[bool]:
    return [one.read == one.truth for one in faced if one.read is not None and one.belief >= limit]


def _share(right: Sequence[bool], of: int | None = None) -> Row:
    found = wilson(sum(right), len(right))
    known = {} if of is None else {"known_share": len(right) / of}
    return {"pictures": of or len(right), "right_share": found.value, "right_low": found.low, **known}


def main() -> None:
    import cv2

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    pictures, reader = PeoplePictures(given.pictures), PortraitReader()
    rows = [
        *angle_rows(read_turns(reader, pictures.turned())),
        *expression_rows(read_faces(reader, pictures.actors())),
    ]
    for row in rows:
        print(row, flush=True)
    write_part("people_limits", rows, **({"folder": given.out} if given.out else {}))


if __name__ == "__main__":
    main()
