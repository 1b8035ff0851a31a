import numpy as np
import pytest

from benchmarks.kit.written_pictures import WRITTEN, as_given
from tests.kit.faces import astronaut


@pytest.mark.parametrize("kind", WRITTEN)
def test_writing_is_laid_over_a_part_of_the_picture_and_the_same_again(kind: str) -> None:
    photo = astronaut()
    made, again = (np.asarray(WRITTEN[kind](photo, np.random.default_rng(4))) for _ in range(2))
    np.testing.assert_array_equal(made, again)
    changed = (made != np.asarray(photo)).any(axis=2).mean()
    assert 0.0005 < changed < 0.5


def test_pictures_come_smaller_and_compressed() -> None:
    given = as_given(astronaut(), np.random.default_rng(1))
    assert max(given.size) <= 1024 and given.mode == "RGB"
