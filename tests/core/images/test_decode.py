"""Hostile and unusual pictures: each is read rightly or refused in one clear line."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from flenwheel_core.errors import FlenwheelError, InputError
from flenwheel_core.images.decode import Limits, decode, encode_png
from flenwheel_core.images.names import printable_name


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
    stored = encode_png(result.image)
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
