"""Which of several people in a picture is the character: the one nearest the fingerprint, never simply the largest."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flenwheel_core.identity.embedding_math import Distance, Vectors, as_vectors, centroid_of, distances_to
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.screening import FingerprintSpace, Identity

BESIDE_SHARE = 0.5
"""A face of at least this share of the character's height is somebody beside it; smaller ones are passers-by."""
ROUNDS = 4


def people_in(embedded: Embedded) -> tuple[Embedded, ...]:
    """Everybody who was found in a picture, the largest face first; empty without an embedding."""
    return (embedded, *embedded.others) if embedded.embedding is not None else ()


def as_character(embedded: Embedded, index: int) -> Embedded:
    """The same picture, with the person at `index` of `people_in` taken for the character and the rest beside it."""
    people = people_in(embedded)
    chosen = people[index]
    others = tuple(replace(one, others=(), problem=None) for at, one in enumerate(people) if at != index)
    beside = any((one.subject_size or 0) >= BESIDE_SHARE * (chosen.subject_size or 0) for one in others)
    return replace(chosen, others=others, problem="extra_faces" if beside else None)


def character_in(embedded: Embedded, space: FingerprintSpace) -> tuple[Embedded, Identity | None]:
    """The person of a picture who lies nearest the fingerprint, and where; None without a face."""
    places = [space.locate(one.embedding or ()) for one in people_in(embedded)]
    if not places:
        return embedded, None
    if len(places) == 1:
        return embedded, places[0]
    nearest = min(range(len(places)), key=lambda at: (places[at].distance, at))
    return as_character(embedded, nearest), places[nearest]


@dataclass(frozen=True)
class CommonPerson:
    """Who is in most of the pictures."""

    chosen: tuple[int | None, ...]
    """For each picture the index of this person's face; None where nobody is near enough."""
    distances: tuple[tuple[float, ...], ...]
    """For each picture the distance of each of its faces to this person."""
    rival: int
    """In how many pictures somebody else is found as often as this person, beside it; 0 if this person is clearly the one."""


def common_person(
    pictures: Sequence[Sequence[Sequence[float]]],
    distance: Distance,
    limit: float,
    told: Collection[int] = (),
) -> CommonPerson | None:
    """The person whose face is within `limit` in most of the pictures (embeddings of every face in each); None without a face.

    Pictures whose index is in `told` show the character and nobody else, because a person said so: then it is somebody of theirs.
    """
    vectors = [as_vectors(faces) if faces else None for faces in pictures]
    asked = [index for index in told if vectors[index] is not None] or range(len(pictures))
    found: list[tuple[int, float, Vectors]] = []
    for index in asked:
        faces = vectors[index]
        for face in faces if faces is not None else ():
            centre = face if told else _settled(face, vectors, distance, limit)
            near = _nearest(vectors, centre, distance)
            within = [value for value in near if value is not None and value <= limit]
            found.append((-len(within), float(np.mean(within)) if within else np.inf, centre))
    if not found:
        return None
    found.sort(key=lambda one: one[:2])
    pictures_with, _, centre = found[0]
    centre = _settled(centre, vectors, distance, limit)
    rows = [distances_to(faces, centre, distance) if faces is not None else np.zeros(0) for faces in vectors]
    chosen = [int(np.argmin(row)) if len(row) and row.min() <= limit else None for row in rows]
    apart = [one for one in found if float(distances_to(one[2][None], centre, distance)[0]) > limit]
    rival = -apart[0][0] if apart and apart[0][0] <= pictures_with and pictures_with < -1 and not told else 0
    return CommonPerson(tuple(chosen), tuple(tuple(np.round(row, 5).tolist()) for row in rows), rival)


def _settled(start: Vectors, vectors: Sequence[Vectors | None], distance: Distance, limit: float) -> Vectors:
    """The centre of the faces nearest to `start`, one a picture, taken anew until it stays."""
    centre = start
    for _ in range(ROUNDS):
        own = []
        for faces in vectors:
            if faces is None:
                continue
            row = distances_to(faces, centre, distance)
            if row.min() <= limit:
                own.append(faces[int(np.argmin(row))])
        if not own:
            return centre
        moved = centroid_of(np.stack(own), distance)
        if np.allclose(moved, centre):
            return centre
        centre = moved
    return centre


def _nearest(vectors: Sequence[Vectors | None], centre: Vectors, distance: Distance) -> list[float | None]:
    return [None if faces is None else float(distances_to(faces, centre, distance).min()) for faces in vectors]
