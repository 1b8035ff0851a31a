"""What a corrected picture must be before it may teach the editor."""

import io

import pytest
from PIL import Image, ImageDraw, ImageFilter

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.gates.corrections import CorrectionCheck, accept_correction
from flenwheel_core.images.alignment import align
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture
from tests.kit.gate_world import REQUEST, fill_library, make_edits


@pytest.fixture
def edit(store: Store) -> ImageRecord:
    return make_edits(store, fill_library(store, side=192), 1, side=192)[0]


def give(
    store: Store, edit: ImageRecord, image: Image.Image, kind: str = "PNG", **options: int
) -> tuple[ImageRecord, CorrectionCheck]:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return accept_correction(store, buffer.getvalue(), "corrected.png", edit, gate="g", request=REQUEST)


def corrected(store: Store, edit: ImageRecord) -> Image.Image:
    """The edit with another mouth."""
    image = load_picture(store, edit.digest)
    ImageDraw.Draw(image).ellipse([80, 90, 120, 110], fill=(150, 30, 30))
    return image


def test_a_correction_is_kept_with_its_parents(store: Store, edit: ImageRecord) -> None:
    record, check = give(store, edit, corrected(store, edit))
    assert record.kind is ImageKind.CORRECTED and record.parents == (*edit.parents, edit.digest)
    assert record.prompt == edit.prompt and (record.width, record.height) == (192, 192)
    assert 0 < check.changed_share < 0.1 and check.shift_share == 0 and not check.resized
    assert load_picture(store, record.digest).tobytes() == corrected(store, edit).tobytes()


def test_what_the_file_said_about_itself_is_gone(store: Store, edit: ImageRecord) -> None:
    image = corrected(store, edit)
    exif = image.getexif()
    exif[0x010E] = "taken at home"
    record, _ = give(store, edit, image, "JPEG", quality=95, exif=exif)  # type: ignore[arg-type]
    assert b"taken at home" not in store.get_blob(record.digest)
    assert store.get_blob(record.digest).startswith(b"\x89PNG")


@pytest.mark.parametrize("quality", [95, 85, 75])
def test_the_unchanged_edit_is_refused_also_as_a_jpeg(store: Store, edit: ImageRecord, quality: int) -> None:
    image = load_picture(store, edit.digest)
    with pytest.raises(InputError, match="unchanged"):
        give(store, edit, image)
    with pytest.raises(InputError, match="unchanged"):
        give(store, edit, image, "JPEG", quality=quality, subsampling=0)


def test_a_small_correction_survives_jpeg(store: Store, edit: ImageRecord) -> None:
    _, check = give(store, edit, corrected(store, edit), "JPEG", quality=85)
    assert check.changed_share > 0


def test_another_aspect_is_refused(store: Store, edit: ImageRecord) -> None:
    with pytest.raises(InputError, match="192x150; the edit is 192x192"):
        give(store, edit, corrected(store, edit).crop((0, 0, 192, 150)))


def test_another_size_of_the_same_aspect_is_scaled(store: Store, edit: ImageRecord) -> None:
    record, check = give(store, edit, corrected(store, edit).resize((384, 384)))
    assert check.resized and (record.width, record.height) == (192, 192)


def test_a_shifted_picture_is_refused(store: Store, edit: ImageRecord) -> None:
    moved = Image.new("RGB", (192, 192), (60, 80, 100))
    moved.paste(corrected(store, edit), (14, 0))
    with pytest.raises(InputError, match="shifted"):
        give(store, edit, moved)


def test_another_picture_is_refused(store: Store, edit: ImageRecord) -> None:
    other = Image.effect_noise((192, 192), 80).convert("RGB").filter(ImageFilter.GaussianBlur(3))
    with pytest.raises(InputError, match="same scene"):
        give(store, edit, other)


def test_what_is_no_picture_is_refused(store: Store, edit: ImageRecord) -> None:
    with pytest.raises(InputError, match="no picture"):
        accept_correction(store, b"<svg onload=alert(1)>", "x.svg", edit, gate="g", request=REQUEST)


@pytest.mark.parametrize("shift", [(0, 0), (12, 0), (-9, 15)])
def test_align_measures_a_known_shift(shift: tuple[int, int]) -> None:
    texture = Image.effect_noise((320, 320), 60).filter(ImageFilter.GaussianBlur(2)).convert("RGB")
    first = texture.crop((30, 30, 286, 286))
    second = texture.crop((30 + shift[0], 30 + shift[1], 286 + shift[0], 286 + shift[1]))
    measured, correlation = align(first, second)
    assert measured == pytest.approx((shift[0] ** 2 + shift[1] ** 2) ** 0.5 / 256, abs=0.004)
    assert correlation > 0.8
