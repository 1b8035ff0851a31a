import numpy as np
import pytest
from PIL import Image, ImageOps

from flenwheel_core.evaluation.memorised import TELLING_BITS, how_near, nearest_paintings
from flenwheel_core.images.quality import measure
from flenwheel_core.nano.paintings import painting

PAINTINGS = [measure(painting(1, seed)) for seed in range(8)]


def test_a_copy_is_found_also_mirrored_and_scaled_and_a_new_picture_is_none() -> None:
    mirrored = ImageOps.mirror(painting(1, 3).resize((200, 200), Image.Resampling.BICUBIC))
    copy, mirror, fresh = nearest_paintings(
        [measure(image) for image in (painting(1, 5), mirrored, painting(1, 99))], PAINTINGS
    )
    assert (copy.index, copy.bits, copy.copied, copy.mirrored) == (5, 0, True, False)
    assert (mirror.index, mirror.copied, mirror.mirrored) == (3, True, True)
    assert not fresh.copied and fresh.bits > 8


def test_beyond_what_chance_gives_the_hash_says_so() -> None:
    assert how_near(3, mirrored=True) == "3 of 64 bits apart, mirrored"
    assert "as by chance" in how_near(TELLING_BITS + 1, mirrored=False) and "chance" not in how_near(
        TELLING_BITS, mirrored=False
    )
    chance = np.random.default_rng(0)
    hashes = chance.integers(0, 2**64, (2, 4000), dtype=np.uint64)
    apart = np.bitwise_count(hashes[0] ^ hashes[1])
    assert (apart <= TELLING_BITS).mean() < 0.005, "two hashes without anything in common are hardly ever so near"


def test_without_paintings_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no training painting"):
        nearest_paintings([PAINTINGS[0]], [])
