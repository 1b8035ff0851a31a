import numpy as np
import pytest

from flenwheel_core.identity.cohort import SHARE, face_cohort, stranger_limit


def test_the_shipped_centres_are_of_faces_and_apart_from_each_other() -> None:
    centres = np.asarray(face_cohort())
    assert centres.shape[1] == 128 and 2 <= len(centres) <= 8
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)[np.triu_indices(len(centres), 1)]
    assert apart.min() > 0.2
    assert apart.max() < 1.0


def test_the_nearest_centre_counts() -> None:
    cohort = np.asarray([[3.0, 0.0], [0.0, 0.5]])
    assert stranger_limit(np.zeros(2), cohort, "euclidean") == pytest.approx(0.5 * SHARE)
