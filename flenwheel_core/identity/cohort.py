"""Other people's faces, in few numbers: how near strangers come to a character in the face verifier's eyes.

The network does not know all groups of people equally well. Faces of a group that it saw little of lie close together, and a limit
that fits others lets their look-alikes through. `cohort.csv` holds the centres of a few groups of faces, each of many people and
none of one; a character that lies near such a centre has strangers near by, and gets a smaller limit (docs/measurements/people.md).
"""

import csv
from functools import cache
from pathlib import Path

import numpy as np

from flenwheel_core.identity.embedding_math import Distance, Vectors, distances_to

FILE = Path(__file__).with_name("cohort.csv")
SHARE = 0.95
"""A character's limit is at most this share of its distance to the nearest centre: strangers of that group start there."""


@cache
def face_cohort() -> tuple[tuple[float, ...], ...]:
    """The centres (groups, 128) in the space of `face-dlib`."""
    with FILE.open(newline="") as file:
        return tuple(tuple(float(value) for value in row) for row in csv.reader(file))


def stranger_limit(centre: Vectors, cohort: Vectors, distance: Distance) -> float:
    """The distance from the character's centre at which strangers are to be expected."""
    return float(distances_to(np.asarray(cohort), centre, distance).min()) * SHARE
