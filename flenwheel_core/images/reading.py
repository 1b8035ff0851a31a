"""Reading pictures that strangers made: damaged, huge, animated, mislabelled, in any colour space.

Whatever comes in, what goes out is an upright sRGB picture in RGB, or an InputError of one clear line.
Formats are told by content, never by the file name. This is the work itself, without limits of time and memory: only the decoder
process calls it. Everybody else calls `decode`, which has both.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from PIL import Image, ImageCms

from flenwheel_core.base.errors import InputError, MissingWeightsError
from flenwheel_core.images.buckets import MAX_RATIO
from flenwheel_core.images.names import NAME_LENGTH, printable_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Formats that may be opened. A short list keeps the rare decoders, and their bugs, out of reach."""

SUFFIXES: dict[str, tuple[str, ...]] = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "HEIF": (".heic", ".heif"),
}
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis")
BACKGROUND = (255, 255, 255)
TRANSPARENT = "It is partly transparent; laid over white."
BAND_ROWS = 256
OWN_TEXT_KEYS = 20
OWN_TEXT_LENGTH = 2000
LONGEST_RATIO = 10
"""A picture that is more times as long as it is high is a strip: no part of it that training can use shows a character."""
ORIENTATION = 0x0112
SHORT = 3
DRAFT_GAP = 1.5
"""A JPEG that is read quickly is decoded at this many times the wanted size at least: careful scaling does the rest."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What EXIF's orientations ask for (Exif 2.32, 4.6.4)."""
_ON_THE_SIDE = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded, and how large the result may be."""

    maximum_megapixels: int = 120
    maximum_bytes: int = 400 * 1024 * 1024
    maximum_side_px: int | None = None
    """Larger pictures are scaled down to this long side; None keeps their size."""
    least_side_px: int | None = None
    """A wide or tall picture whose shorter side has as many pixels is not scaled below them."""
    quick: bool = False
    """Scale down as thumbnails are: faster, and not pixel for pixel what careful scaling gives."""
    size_px: tuple[int, int] | None = None
    """Scale to exactly this width and height."""


@dataclass(frozen=True)
class Decoded:
    """An upright sRGB picture, and what had to be done to it."""

    image: Image.Image
    format: str
    notes: tuple[str, ...]
    """Plain sentences; empty for an ordinary picture."""
    size: tuple[int, int]
    """Width and height of the upright picture before it was scaled."""
    written: tuple[tuple[str, str], ...] = ()
    """What this project wrote into the text of a PNG."""


def read_picture(data: bytes, name: str, limits: Limits, begin: Callable[[int, int], None] | None = None) -> Decoded:
    """The picture in `data`. Raises InputError if it is no picture, damaged, or beyond `limits`.

    `begin` is told width and height as soon as they are known, before any pixel is decoded.
    """
    shown = printable_name(name)
    if not data:
        raise InputError(f"{shown} is empty.", remedy="Copy the file again.")
    if len(data) > limits.maximum_bytes:
        raise InputError(
            f"{shown} is too large: {len(data) / 2**20:.0f} MiB.",
            why=f"files above {limits.maximum_bytes / 2**20:.0f} MiB are not opened.",
            remedy="Export it smaller.",
        )
    with _open(data, shown) as opened:
        width, height = opened.size
        if width * height > limits.maximum_megapixels * 1_000_000:
            raise InputError(
                f"{shown} is too large: {width}x{height} pixels.",
                why=f"pictures above {limits.maximum_megapixels} megapixels are refused before they are decoded.",
                remedy="Export it smaller, or raise ingest.maximum_megapixels.",
            )
        if begin is not None:
            begin(width, height)
        kind = opened.format or "?"
        notes: list[str] = []
        try:
            opened.seek(0)
            if (
                limits.quick and kind == "JPEG"
            ):  # decodes at a half, a quarter or an eighth of the size, if that is enough
                across, down = _fitted_size((width, height), limits)
                opened.draft(None, (round(across * DRAFT_GAP), round(down * DRAFT_GAP)))
            opened.load()
            written = _own_text(opened)
            turn = _turn(opened, notes)
            upright = opened if turn is None else opened.transpose(turn)
            image = _flatten(_to_srgb(upright, notes), notes)
        except MemoryError as error:
            raise InputError(
                f"{shown} needs more memory than a picture may.",
                why=f"it has {width}x{height} pixels, and more is stored for each than in ordinary pictures.",
                remedy="Export it as PNG or JPEG with 8 bits a channel, or smaller.",
            ) from error
        except _DECODER_ERRORS as error:
            raise InputError(
                f"{shown} is damaged.", why=_one_line(error), remedy="Copy or export the file again."
            ) from error
    notes = [*_mislabelled(name, kind), *_further_frames(data, shown, kind), *notes]
    size = (height, width) if turn in _ON_THE_SIDE else (width, height)
    return Decoded(_fit(image, size, limits, notes), kind, tuple(notes), size, written)


def _mislabelled(name: str, kind: str) -> list[str]:
    suffix = PurePath(name).suffix.lower()
    if not suffix or suffix in SUFFIXES.get(kind, ()):
        return []
    return [f"It is a {kind} picture in spite of its name."]


def _further_frames(data: bytes, shown: str, kind: str) -> list[str]:
    """Counted in a picture opened for that alone: looking at a damaged page would spoil the first one."""
    if kind == "MPO":
        return []
    try:
        with _open(data, shown) as opened:
            frames = getattr(opened, "n_frames", 1)
    except (InputError, *_DECODER_ERRORS):
        return ["It has further pages that cannot be read; the first is used."]
    return [f"It is animated or has several pages; the first of {frames} is used."] if frames > 1 else []


def _own_text(opened: Image.Image) -> tuple[tuple[str, str], ...]:
    return tuple(
        (key, str(value)[:OWN_TEXT_LENGTH])
        for key, value in opened.info.items()
        if isinstance(key, str) and key.startswith("flenwheel.")
    )[:OWN_TEXT_KEYS]


_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    EOFError,
    MemoryError,
    RuntimeError,
    AttributeError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on damaged input; seen with fuzzed files."""


def _open(data: bytes, shown: str) -> Image.Image:
    heif = data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS
    formats = (*FORMATS, "HEIF") if heif and _register_heif(shown) else FORMATS
    try:
        with warnings.catch_warnings():
            # Our own limit on pixels is checked right after the header is read.
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise InputError(f"{shown} is too large.", why=_one_line(error), remedy="Export it smaller.") from error
    except _DECODER_ERRORS as error:
        raise InputError(
            f"{shown} is no picture that can be read.",
            why=f"its content is none of {', '.join(FORMATS)} or HEIC, or its header is damaged.",
            remedy="Export it as PNG, JPEG or WebP.",
        ) from error


def _register_heif(shown: str) -> bool:
    try:
        import pillow_heif
    except ImportError:
        raise MissingWeightsError(
            f"{shown} is a HEIC picture, and the plug-in that reads them is not installed.",
            remedy="Install flenwheel[heic], or export the picture as JPEG.",
        ) from None
    pillow_heif.register_heif_opener()
    return True


def _to_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """In an 8-bit mode, with the embedded colour profile applied. Keeps transparency."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I;16", "I", "F")):
        notes.append("It has 16 or more bits a channel; reduced to 8.")
        return _to_eight_bits(image)
    has_alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    if profile and image.mode in ("RGB", "CMYK", "L", "LAB", "RGBA"):
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        flat = image.convert("RGB") if alpha is not None else image
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(flat, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            notes.append("Its colour profile cannot be used; its colours are taken as sRGB.")
        else:
            assert converted is not None
            if alpha is not None:
                converted.putalpha(alpha)
            return converted
    if image.mode == "CMYK":
        notes.append("It is in CMYK without a usable profile; colours are approximate.")
    wanted = "RGBA" if has_alpha else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    import numpy as np

    def bands() -> "Iterator[tuple[int, NDArray[np.float64]]]":
        # A band of rows at a time: eight bytes for every channel of a large picture are more than the picture itself.
        for top in range(0, image.height, BAND_ROWS):
            box = (0, top, image.width, min(top + BAND_ROWS, image.height))
            yield top, np.asarray(image.crop(box), dtype=np.float64)

    highest = -np.inf
    for _, values in bands():
        highest = float(np.fmax.reduce(values, axis=None, initial=highest))
    # Float pictures come as 0..1 or as 0..255; integers above 8 bits as 16-bit ranges.
    scale = 255.0 if highest <= 1.0 else 1.0 if highest <= 255.0 and image.mode == "F" else 255.0 / 65535.0
    eight = np.empty((image.height, image.width), dtype=np.uint8)
    for top, values in bands():
        eight[top : top + len(values)] = np.clip(np.nan_to_num(values) * scale + 0.5, 0, 255)
    return Image.fromarray(eight, "L").convert("RGB")


def _turn(image: Image.Image, notes: list[str]) -> Image.Transpose | None:
    """How its EXIF says that it stands upright. EXIF that cannot be read leaves the picture as it is: viewers show it, too."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except _DECODER_ERRORS:
        orientation = _salvaged_orientation(image.info.get("exif"))
        how = "it is taken as it lies" if orientation is None else "only its orientation could be"
        notes.append(f"Its EXIF data cannot be read; {how}.")
    return TURNS.get(orientation) if isinstance(orientation, int) else None


def _salvaged_orientation(exif: object) -> int | None:
    """The orientation in damaged EXIF: its entry is looked for in the first directory, whatever the others hold."""
    if not isinstance(exif, bytes):
        return None
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return None
        (first,) = struct.unpack_from(f"{order}L", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, first)
        for number in range(count):
            tag, kind, values, value = struct.unpack_from(f"{order}HHLH", tiff, first + 2 + 12 * number)
            if (tag, kind, values) == (ORIENTATION, SHORT, 1):
                return int(value)
    except struct.error:
        return None
    return None


def _flatten(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode != "RGBA":
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    notes.append(TRANSPARENT)
    canvas = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def _fit(image: Image.Image, whole: tuple[int, int], limits: Limits, notes: list[str]) -> Image.Image:
    """Scaled to its limits; `whole` is its size in the file, which a quick decoder has made smaller already."""
    size = _fitted_size(whole, limits)
    if size != whole and limits.size_px is None:
        notes.append(f"Scaled down from {whole[0]}x{whole[1]} to {size[0]}x{size[1]}.")
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0 if limits.quick else None)


def _fitted_size(size: tuple[int, int], limits: Limits) -> tuple[int, int]:
    if limits.size_px is not None:
        return limits.size_px
    if limits.maximum_side_px is None or max(size) <= limits.maximum_side_px:
        return size
    scale = limits.maximum_side_px / max(size)
    short, least = min(size), limits.least_side_px
    if least is not None and round(short * scale) < least <= short and max(size) <= LONGEST_RATIO * short:
        # As many pixels as training can use of it: its widest bucket is cut out of the middle.
        scale = min(1.0, max(least, limits.maximum_side_px / MAX_RATIO) / short)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return printable_name(text) if len(text) <= NAME_LENGTH else f"{text[:NAME_LENGTH]}..."
