"""Thumbnails, and where the subject of a picture is."""

import io

import pytest
from PIL import Image, ImageDraw

from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.base.settings import Settings
from flenwheel_core.records.subject_place import WHOLE, find_subject
from flenwheel_core.records.thumbnails import Thumbnails
from flenwheel_core.store import Store
from tests.kit.gate_world import fill_library


def test_a_thumbnail_is_made_once_and_is_small(store: Store, settings: Settings) -> None:
    source = fill_library(store, 1, side=400)[0]
    thumbnails = Thumbnails(store, settings.root / "thumbnails")
    made = thumbnails.webp(source.digest, 160)
    with Image.open(io.BytesIO(made)) as image:
        assert image.format == "WEBP" and image.size == (160, 160)
    (kept,) = (path for path in (settings.root / "thumbnails").rglob("*") if path.is_file())
    kept.write_bytes(b"kept")
    assert thumbnails.webp(source.digest, 160) == b"kept"
    with Image.open(io.BytesIO(thumbnails.webp(source.digest, 1280))) as image:
        assert image.size == (400, 400), "never larger than the picture"


def test_sizes_and_contents_are_checked(store: Store, settings: Settings) -> None:
    thumbnails = Thumbnails(store, settings.root / "thumbnails")
    source = fill_library(store, 1, side=64)[0]
    with pytest.raises(InputError, match="no thumbnails of 161"):
        thumbnails.webp(source.digest, 161)
    with pytest.raises(NotFoundError):
        thumbnails.webp("0" * 64, 160)
    with pytest.raises(InputError, match="no picture"):
        thumbnails.webp(store.put_blob(b"not a picture"), 160)
    bomb = io.BytesIO()
    Image.new("1", (12000, 12000)).save(bomb, "PNG")
    with pytest.raises(InputError, match="too large"):
        thumbnails.webp(store.put_blob(bomb.getvalue()), 160)


@pytest.mark.parametrize("corner", [(20, 30), (130, 40), (60, 120)])
def test_the_box_holds_the_subject(corner: tuple[int, int]) -> None:
    image = Image.new("RGB", (256, 256), (90, 120, 160))
    left, top = corner
    ImageDraw.Draw(image).ellipse([left, top, left + 80, top + 80], fill=(220, 170, 120))
    box = find_subject(image, person=False)
    assert box.left * 256 <= left + 12 and box.top * 256 <= top + 12
    assert (box.left + box.width) * 256 >= left + 68 and (box.top + box.height) * 256 >= top + 68
    assert box.width < 0.7 and box.height < 0.7


def test_of_a_person_the_upper_part_is_shown() -> None:
    image = Image.new("RGB", (256, 256), (90, 120, 160))
    ImageDraw.Draw(image).rectangle([90, 20, 160, 250], fill=(220, 170, 120))
    whole, face = find_subject(image, person=False), find_subject(image, person=True)
    assert face.top + face.height < whole.top + whole.height - 0.2


def test_without_a_subject_the_whole_picture_is_shown() -> None:
    assert find_subject(Image.new("RGB", (128, 128), (10, 20, 30)), person=True) == WHOLE
