"""The shipped nano embedder and reader as guardrail: a broken weight file or a wrong threshold shows here.

The full figures, on twenty characters, are in benchmarks/results/screening_truth.json.
"""

from dataclasses import replace

import numpy as np
import pytest

from flenwheel_core.base.settings import Settings
from flenwheel_core.identity.embedding_math import as_vectors, centroid_of, distances_to
from flenwheel_core.identity.fingerprint import make_fingerprint
from flenwheel_core.identity.protocols import Reader, Verifier
from flenwheel_core.identity.readers import open_reader
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.nano.world import HELD_OUT_FROM, Character, make_character, make_view, render

pytestmark = pytest.mark.slow
VIEWS = 8


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return open_verifier("nano", Settings()).__enter__()


@pytest.fixture(scope="module")
def reader() -> Reader:
    return open_reader("nano", Settings()).__enter__()


def heroes(number: int) -> list[Character]:
    """Characters of whom none is another's sibling: every fourth seed is one of the seed before it."""
    return [make_character(HELD_OUT_FROM + 301 + 4 * index) for index in range(number)]


def vectors(verifier: Verifier, character: Character, first: int) -> np.ndarray:  # type: ignore[type-arg]
    views = [make_view(first + index, portrait_share=0.9) for index in range(VIEWS)]
    return as_vectors([found.embedding or () for found in verifier.embed([render(character, view) for view in views])])


def test_each_character_passes_its_own_threshold_and_no_other_one_does(verifier: Verifier) -> None:
    own = {character.seed: vectors(verifier, character, 0) for character in heroes(4)}
    rule = verifier.threshold_rule
    for seed, references in own.items():
        names = [f"{index:064x}" for index in range(VIEWS)]
        found = make_fingerprint(
            names, references.tolist(), rule, verifier=verifier.name, verifier_version=verifier.version
        )
        new = vectors(verifier, make_character(seed), 500)
        others = np.vstack([rows for other, rows in own.items() if other != seed])
        centre = np.asarray(found.centroid)
        assert (distances_to(new, centre, "cosine") <= found.threshold).mean() >= 0.95
        assert (distances_to(others, centre, "cosine") > found.unsure_above).mean() >= 0.95


def test_clothes_and_places_do_not_change_who_it_is(verifier: Verifier) -> None:
    hero = heroes(1)[0]
    plain = replace(make_view(3, portrait_share=1.0), clothing=None, style="photo", background="studio")
    changed = [
        replace(plain, clothing="red hoodie"),
        replace(plain, background="beach", lighting="sunset"),
        replace(plain, angle="profile-left", expression="angry"),
    ]
    embedded = as_vectors(
        [found.embedding or () for found in verifier.embed([render(hero, v) for v in (plain, *changed)])]
    )
    centre = centroid_of(embedded[:1], "cosine")
    assert distances_to(embedded[1:], centre, "cosine").max() < verifier.threshold_rule.floor


def test_the_reader_sees_what_was_drawn(reader: Reader) -> None:
    views = [make_view(200 + index) for index in range(40)]
    read = reader.read([render(heroes(1)[0], view) for view in views])
    right = {
        field: np.mean(
            [getattr(labels, field) in (None, getattr(view, field)) for labels, view in zip(read, views, strict=True)]
        )
        for field in ("angle", "expression", "pose", "background")
    }
    told = np.mean([labels.angle is not None for labels in read])
    assert told > 0.95
    assert min(right.values()) >= 0.9, right
