"""The character among several people: who is in most pictures, never simply the largest face."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.identity.people import as_character, character_in, common_person, people_in
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.screening import FingerprintSpace

ANA, BEN, CLEO = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


def near(person: tuple[float, ...], seed: int) -> tuple[float, ...]:
    shift = np.random.default_rng(seed).normal(size=3) * 0.08
    return tuple(float(value) for value in np.asarray(person) + shift)


def found(pictures: Sequence[Sequence[tuple[float, ...]]], told: Sequence[int] = ()) -> tuple[int | None, ...]:
    common = common_person(pictures, "euclidean", 0.6, told)
    assert common is not None
    return common.chosen


def test_the_one_in_most_pictures_is_the_character_wherever_it_stands() -> None:
    pictures = [[near(ANA, 1)], [near(BEN, 2), near(ANA, 3)], [near(CLEO, 4), near(BEN, 5), near(ANA, 6)], []]
    assert found(pictures) == (0, 1, 2, None)


def test_a_picture_without_the_character_says_so() -> None:
    assert found([[near(ANA, 1)], [near(ANA, 2)], [near(BEN, 3), near(CLEO, 4)]]) == (0, 0, None)


def test_two_who_are_always_together_are_told_apart_by_a_person_only() -> None:
    together = [[near(ANA, 1), near(BEN, 2)], [near(BEN, 3), near(ANA, 4)], [near(ANA, 5), near(BEN, 6)]]
    common = common_person(together, "euclidean", 0.6)
    assert common is not None and common.rival == 3
    for person, chosen in ((ANA, (0, 1, 0, 0)), (BEN, (1, 0, 1, 0))):
        told = common_person([*together, [near(person, 7)]], "euclidean", 0.6, told=[3])
        assert told is not None and told.chosen == chosen and told.rival == 0


def test_nobody_is_the_character_of_pictures_without_faces() -> None:
    assert common_person([[], []], "euclidean", 0.6) is None


def picture(*people: tuple[tuple[float, ...], int]) -> Embedded:
    first, *others = [Embedded(vector, subject_size=size) for vector, size in people]
    return Embedded(first.embedding, "extra_faces", subject_size=first.subject_size, others=tuple(others))


@pytest.mark.parametrize(
    ("own", "beside", "problem"), [(100, 200, "extra_faces"), (100, 60, "extra_faces"), (200, 60, None)]
)
def test_screening_looks_at_the_nearest_person_and_says_who_stands_beside(
    own: int, beside: int, problem: str | None
) -> None:
    fingerprint = Fingerprint(
        verifier="face",
        verifier_version="1",
        images=("a" * 64,),
        embeddings=(ANA,),
        centroid=ANA,
        distance="euclidean",
        leave_one_out=(0.0,),
        threshold=0.5,
        unsure_above=0.6,
    )
    one, identity = character_in(picture((near(BEN, 1), beside), (near(ANA, 2), own)), FingerprintSpace(fingerprint))
    assert (one.subject_size, one.problem, len(one.others)) == (own, problem, 1)
    assert identity is not None and identity.distance < 0.3
    assert math.dist(one.others[0].embedding or (), BEN) < 0.3


def test_taking_another_for_the_character_loses_nobody() -> None:
    three = picture((ANA, 90), (BEN, 80), (CLEO, 10))
    second = as_character(three, 1)
    assert {one.embedding for one in people_in(second)} == {ANA, BEN, CLEO}
    assert people_in(Embedded(None, "no_face")) == ()
