"""Hostile and unusual pictures: each is read rightly or refused in one clear line."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from flenwheel_core.base.errors import FlenwheelError, InputError
from flenwheel_core.images.decode import Limits, decode
from flenwheel_core.images.names import printable_name
from flenwheel_core.store.pictures import encode_png


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([columns * 5, rows * 7, (columns + rows) * 3], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8), "RGB")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims 60000 x 60000 pixels."""
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    result = decode(saved(gradient(), kind, **options), f"a.{kind.lower()}")
    assert result.image.mode == "RGB"
    assert result.notes == ()
    np.testing.assert_array_equal(np.asarray(result.image), np.asarray(gradient()))


def test_exif_rotation_is_applied_and_metadata_is_gone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "A camera"
    data = saved(gradient(), "JPEG", exif=exif, quality=95, comment=b"secret place")
    result = decode(data, "a.jpg")
    assert result.image.size == (32, 48)
    top_right = np.asarray(result.image)[0, -1].astype(int)
    assert abs(top_right - np.asarray(gradient())[0, 0].astype(int)).max() < 12
    stored = encode_png(result.image, {})
    assert b"camera" not in stored and b"secret" not in stored and b"eXIf" not in stored
    assert Image.open(io.BytesIO(stored)).info == {}


def test_sixteen_bit_grey_keeps_its_tones() -> None:
    values = (np.linspace(0, 65535, 64 * 16).reshape(16, 64)).astype(np.uint16)
    result = decode(saved(Image.fromarray(values), "PNG"), "a.png")
    expected = values.astype(float) / 257
    assert np.abs(np.asarray(result.image)[..., 0] - expected).max() <= 1
    assert "16 or more bits" in result.notes[0]


def test_cmyk_becomes_rgb_with_the_right_hue() -> None:
    data = saved(Image.new("RGB", (20, 20), (200, 30, 40)).convert("CMYK"), "JPEG", quality=95)
    result = decode(data, "print.jpg")
    red, green, blue = np.asarray(result.image)[10, 10]
    assert red > 150 and green < 90 and blue < 90
    assert "CMYK" in result.notes[0]


def test_palette_with_transparency_is_laid_over_white() -> None:
    image = Image.new("P", (10, 10), 0)
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    image.paste(1, (0, 0, 5, 10))
    result = decode(saved(image, "PNG", transparency=1), "a.png")
    pixels = np.asarray(result.image)
    assert tuple(pixels[5, 1]) == (255, 255, 255)
    assert tuple(pixels[5, 8]) == (255, 0, 0)


def test_colour_profile_is_converted_and_a_broken_one_is_noted() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = decode(saved(gradient(), "PNG", icc_profile=lab), "a.png")
    assert np.abs(np.asarray(same.image).astype(int) - np.asarray(gradient()).astype(int)).max() <= 2
    broken = decode(saved(gradient(), "PNG", icc_profile=b"no profile at all"), "a.png")
    assert "profile cannot be used" in broken.notes[0]


def test_animation_uses_the_first_frame_and_says_so() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        result = decode(data, f"a.{kind.lower()}")
        assert np.asarray(result.image)[8, 8, 0] > 200
        assert "first of 3" in result.notes[0]


def test_wrong_extension_is_read_by_content_and_noted() -> None:
    result = decode(saved(gradient(), "JPEG"), "a.png")
    assert result.format == "JPEG"
    assert "in spite of its name" in result.notes[0]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"hello, I am a text", "no picture"),
        (bomb(), "too large"),
        (saved(gradient(), "PNG")[:-40], "damaged"),
        (saved(gradient(400, 300), "JPEG")[:900], "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
    ],
)
def test_unusable_files_are_refused_in_one_line(data: bytes, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        decode(data, "holiday\n../../etc/passwd.png")
    assert "\n" not in caught.value.what
    assert caught.value.what.startswith("passwd.png")


def test_pixel_limit_is_checked_before_decoding() -> None:
    data = saved(Image.new("RGB", (1200, 1000)), "PNG")
    with pytest.raises(InputError, match="1200x1000"):
        decode(data, "a.png", Limits(maximum_megapixels=1))


def test_large_pictures_are_scaled_to_the_stated_side() -> None:
    result = decode(saved(gradient(300, 200), "PNG"), "a.png", Limits(maximum_side_px=150))
    assert result.image.size == (150, 100)
    assert "Scaled down from 300x200 to 150x100." in result.notes


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_that_is_read_quickly_is_the_same_picture_and_its_size_is_that_of_the_file(orientation: int) -> None:
    rows, columns = np.mgrid[0:677, 0:1013]
    pixels = np.stack([columns / 4, rows / 3, (columns + rows) / 8], axis=-1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(pixels), "JPEG", exif=exif, quality=95)
    careful = decode(data, "a.jpg", Limits(maximum_side_px=300))
    quick = decode(data, "a.jpg", Limits(maximum_side_px=300, quick=True))
    assert (quick.size, quick.image.size, quick.notes) == (careful.size, careful.image.size, careful.notes)
    assert quick.size == ((1013, 677) if orientation == 1 else (677, 1013))
    apart = np.abs(np.asarray(quick.image).astype(int) - np.asarray(careful.image).astype(int))
    assert apart.max() < 6


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.png", "cat.png"),
        ("line\nbreak.png", "line?break.png"),
        ("tab\tand\x1b[31mred.png", "tab?and?[31mred.png"),
    ],
)
def test_names_are_safe_to_print(name: str, shown: str) -> None:
    assert printable_name(name) == shown


def test_long_names_are_cut_and_keep_their_ending() -> None:
    shown = printable_name("x" * 300 + ".png")
    assert len(shown) <= 80 and shown.endswith(".png")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]))
def test_damaged_bytes_never_raise_anything_but_our_errors(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(saved(gradient(), kind))
    for position in random.integers(0, len(data), size=8):
        data[position] = random.integers(0, 256)
    try:
        result = decode(bytes(data[: random.integers(1, len(data) + 1)]), "a.bin")
    except FlenwheelError:
        return
    assert result.image.mode == "RGB"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0NOTATIFF" + b"x" * 40, b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM"])
def test_broken_exif_is_a_note_and_the_picture_is_kept(kind: str, exif: bytes) -> None:
    # With a density in the JFIF header Pillow does not look at the EXIF of a JPEG when it opens it.
    options = {"dpi": (72, 72)} if kind == "JPEG" else {}
    result = decode(saved(gradient(), kind, exif=exif, **options), f"a.{kind.lower()}")
    assert result.image.size == (48, 32)
    assert all("EXIF" in note for note in result.notes)


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_taken_from_exif_whose_other_entries_are_broken(order: str) -> None:
    magic = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", 2) + struct.pack(f"{order}HHLHH", 0x0112, 3, 1, 6, 0)
    broken = b"Exif\0\0" + magic + struct.pack(f"{order}L", 8) + directory + b"\x01"
    result = decode(saved(gradient(), "PNG", exif=broken), "a.png")
    assert result.image.size == (32, 48)


def test_gps_numbers_that_cannot_be_written_back_do_not_stop_the_turning() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(exif.tobytes())
    tiff = data.index(b"MM" if b"MM\0*" in data else b"II")
    order = ">" if data[tiff : tiff + 2] == b"MM" else "<"
    gps = struct.pack(f"{order}HHHLLLHL", 1, 0x0002, 10, 1, 60, 0, 0, 0)
    whole = bytes(data) + gps
    result = decode(saved(gradient(), "JPEG", exif=whole, dpi=(72, 72)), "a.jpg")
    assert result.image.size == (32, 48)


def two_pages(tag: int, value: int) -> bytes:
    """A TIFF of two pages; `tag` of the second page says `value`."""
    data = bytearray(saved(gradient(), "TIFF", save_all=True, append_images=[gradient()]))
    (first,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<L", data, first + 2 + 12 * count)
    (count,) = struct.unpack_from("<H", data, second)
    for number in range(count):
        entry = second + 2 + 12 * number
        if struct.unpack_from("<H", data, entry)[0] == tag:
            struct.pack_into("<H", data, entry + 8, value)
    return bytes(data)


@pytest.mark.parametrize(("tag", "value"), [(259, 34712), (256, 0), (257, 0), (258, 77), (262, 99), (273, 65535)])
def test_a_bad_later_page_leaves_the_first_one_alone(tag: int, value: int) -> None:
    result = decode(two_pages(tag, value), "scan.tif")
    np.testing.assert_array_equal(np.asarray(result.image), np.asarray(gradient()))
    assert len(result.notes) == 1 and "the first" in result.notes[0]


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((800, 150), (683, 128)),  # as high as the widest bucket of 320 px can use
        ((150, 800), (128, 683)),
        ((400, 300), (320, 240)),  # as before
        ((800, 90), (320, 36)),  # too small by itself
        ((2000, 100), (320, 16)),  # a strip
        ((330, 101), (330, 101)),
    ],
)
def test_a_wide_picture_keeps_the_pixels_that_training_can_use(size: tuple[int, int], kept: tuple[int, int]) -> None:
    data = saved(Image.new("RGB", size), "PNG")
    result = decode(data, "pano.png", Limits(maximum_side_px=320, least_side_px=100))
    assert (result.size, result.image.size) == (size, kept)


def test_a_picture_can_be_fitted_to_a_size() -> None:
    assert decode(saved(gradient(), "PNG"), "a.png", Limits(size_px=(24, 16))).image.size == (24, 16)


def test_only_what_this_project_wrote_is_read_out_of_a_png() -> None:
    written = decode(encode_png(gradient(), {"flenwheel.item": "a", "parameters": "steps"}), "a.png").written
    assert written == (("flenwheel.item", "a"),)


@pytest.mark.parametrize("mode", ["CMYK", "LAB", "1", "I", "F", "I;16", "LA", "P", "YCbCr"])
def test_every_colour_mode_ends_in_rgb(mode: str) -> None:
    grey = np.arange(48 * 32, dtype=np.float32).reshape(32, 48)
    if mode == "LAB":
        image = gradient().convert("RGB")
        profile = ImageCms.createProfile
        image = ImageCms.profileToProfile(image, profile("sRGB"), profile("LAB"), outputMode="LAB")
    elif mode in ("I", "F", "I;16"):
        image = Image.fromarray(grey.astype({"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]))
    else:
        image = gradient().convert(mode)
    result = decode(saved(image, "TIFF"), "a.tif")
    assert (result.image.mode, result.image.size) == ("RGB", (48, 32))


def test_floats_that_are_no_numbers_are_black_and_infinite_ones_white() -> None:
    values = np.full((600, 8), 0.5, dtype=np.float32)
    values[0], values[500], values[599] = np.nan, np.inf, -np.inf
    pixels = np.asarray(decode(saved(Image.fromarray(values), "TIFF"), "a.tif").image)[:, 0, 0]
    assert (pixels[0], pixels[500], pixels[599]) == (0, 255, 0)
