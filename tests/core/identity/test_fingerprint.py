"""Fingerprints: thresholds from the sources' own spread, outliers noticed, versions never mixed."""

from dataclasses import replace

import numpy as np
import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.identity.embedding_math import centroid_of, distances_to
from flenwheel_core.identity.fingerprint import (
    ThresholdRule,
    leave_one_out_distances,
    less_sure,
    make_fingerprint,
    outlying_sources,
)
from flenwheel_core.identity.verifiers import require_same_version

RULE = ThresholdRule(distance="euclidean", margin=0.1, floor=0.45, cap=0.6, unsure_margin=0.1)


def cloud(count: int, spread: float, seed: int = 0) -> np.ndarray:  # type: ignore[type-arg]
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 16)) * spread / 4 + 1


def fingerprint_of(vectors: np.ndarray, rule: ThresholdRule = RULE):  # type: ignore[no-untyped-def, type-arg]
    names = [f"{index:064x}" for index in range(len(vectors))]
    return make_fingerprint(names, vectors.tolist(), rule, verifier="v", verifier_version="1")


def test_leave_one_out_leaves_the_source_itself_out() -> None:
    vectors = np.asarray([[0.0, 0], [2, 0], [4, 0]])
    np.testing.assert_allclose(leave_one_out_distances(vectors, "euclidean"), [3, 0, 3])


def test_threshold_follows_the_spread_between_floor_and_cap() -> None:
    tight, middle, loose = (fingerprint_of(cloud(12, spread)).threshold for spread in (0.05, 0.42, 2.0))
    assert tight == 0.45
    assert 0.45 < middle < 0.6
    assert loose == 0.6


def test_strangers_near_the_character_bring_floor_and_cap_down() -> None:
    vectors = cloud(12, 0.05)
    near, far = tuple((vectors.mean(axis=0) + 0.1).tolist()), tuple((vectors.mean(axis=0) + 5).tolist())
    close = replace(RULE, cohort=(near, far))
    assert fingerprint_of(vectors, close).threshold == pytest.approx(0.4 * 0.95, abs=1e-4)
    assert fingerprint_of(vectors, close).unsure_above == pytest.approx(0.4 * 0.95 + 0.1, abs=1e-4)
    assert "instead of 0.45" in (less_sure(fingerprint_of(vectors, close), close) or "")
    apart = replace(RULE, cohort=(far,))
    assert fingerprint_of(vectors, apart).threshold == fingerprint_of(vectors).threshold
    assert less_sure(fingerprint_of(vectors, apart), apart) is None


def test_one_odd_source_is_noticed_and_does_not_open_the_door() -> None:
    vectors = cloud(10, 0.2)
    stranger = np.vstack([vectors, np.full((1, 16), -1.0)])
    found = fingerprint_of(stranger)
    assert outlying_sources(found.leave_one_out, RULE) == [10]
    assert found.threshold == fingerprint_of(vectors).threshold
    np.testing.assert_allclose(found.centroid, vectors.mean(axis=0), atol=1e-5)


def test_centroid_of_directions_ignores_lengths() -> None:
    vectors = np.asarray([[1.0, 0], [0, 10.0]])
    centre = centroid_of(vectors, "cosine")
    np.testing.assert_allclose(distances_to(vectors, centre, "cosine"), [1 - np.sqrt(0.5)] * 2)


def test_no_embedding_is_an_error_with_a_remedy() -> None:
    with pytest.raises(InputError, match="fingerprint"):
        make_fingerprint([], [], RULE, verifier="face-dlib", verifier_version="1")


def test_another_verifiers_fingerprint_is_refused() -> None:
    class Other:
        name = "v"
        version = "2"

    with pytest.raises(InputError, match="another verifier"):
        require_same_version(Other(), fingerprint_of(cloud(5, 0.1)))  # type: ignore[arg-type]
