import pytest
from PIL import Image, ImageOps

from flenwheel_core.evaluation.memorised import nearest_paintings
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


def test_without_paintings_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no training painting"):
        nearest_paintings([PAINTINGS[0]], [])
