"""Reading pictures that strangers made: damaged, huge, animated, mislabelled, in any colour space.

Whatever comes in, what goes out is an upright sRGB picture in RGB, or an InputError of one clear line.
Formats are told by content, never by the file name. Not covered: sandboxing the decoders themselves.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import PurePath

from PIL import Image, ImageCms, ImageOps

from flenwheel_core.errors import InputError, MissingWeightsError
from flenwheel_core.images.names import NAME_LENGTH, printable_name

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


@dataclass(frozen=True)
class Limits:
    """What is refused before it is decoded, and how large the result may be."""

    maximum_megapixels: int = 120
    maximum_bytes: int = 400 * 1024 * 1024
    maximum_side_px: int | None = None
    """Larger pictures are scaled down to this long side; None keeps their size."""


@dataclass(frozen=True)
class Decoded:
    """An upright sRGB picture without metadata, and what had to be done to it."""

    image: Image.Image
    format: str
    notes: tuple[str, ...]
    """Plain sentences; empty for an ordinary picture."""


def decode(data: bytes, name: str, limits: Limits = Limits()) -> Decoded:
    """The picture in `data`. Raises InputError if it is no picture, damaged, or beyond `limits`."""
    shown = printable_name(name)
    if not data:
        raise InputError(f"{shown} is empty.", remedy="Copy the file again.")
    if len(data) > limits.maximum_bytes:
        raise InputError(
            f"{shown} is too large: {len(data) / 2**20:.0f} MiB.",
            why=f"files above {limits.maximum_bytes / 2**20:.0f} MiB are not opened.",
            remedy="Export it smaller.",
        )
    opened = _open(data, shown)
    notes: list[str] = []
    with opened:
        width, height = opened.size
        if width * height > limits.maximum_megapixels * 1_000_000:
            raise InputError(
                f"{shown} is too large: {width}x{height} pixels.",
                why=f"pictures above {limits.maximum_megapixels} megapixels are refused before they are decoded.",
                remedy="Export it smaller, or raise ingest.maximum_megapixels.",
            )
        kind = opened.format or "?"
        suffix = PurePath(name).suffix.lower()
        if suffix and suffix not in SUFFIXES.get(kind, ()):
            notes.append(f"It is a {kind} picture in spite of its name.")
        frames = getattr(opened, "n_frames", 1)
        if frames > 1 and kind != "MPO":
            notes.append(f"It is animated or has several pages; the first of {frames} is used.")
        try:
            opened.seek(0)
            opened.load()
            image = _flatten(_to_srgb(ImageOps.exif_transpose(opened), notes), notes)
        except _DECODER_ERRORS as error:
            raise InputError(
                f"{shown} is damaged.", why=_one_line(error), remedy="Copy or export the file again."
            ) from error
    return Decoded(_fit(image, limits.maximum_side_px, notes), kind, tuple(notes))


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
    return image.convert("RGBA" if has_alpha else "RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    import numpy as np

    values = np.asarray(image, dtype=np.float64)
    # Float pictures come as 0..1 or as 0..255; integers above 8 bits as 16-bit ranges.
    top = float(np.nanmax(values)) if values.size else 0.0
    scale = 255.0 if top <= 1.0 else 1.0 if top <= 255.0 and image.mode == "F" else 255.0 / 65535.0
    eight = np.clip(np.nan_to_num(values) * scale + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(eight, "L").convert("RGB")


def _flatten(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    notes.append("It is partly transparent; laid over white.")
    canvas = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def _fit(image: Image.Image, maximum_side_px: int | None, notes: list[str]) -> Image.Image:
    if maximum_side_px is None or max(image.size) <= maximum_side_px:
        return _without_metadata(image)
    scale = maximum_side_px / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    notes.append(f"Scaled down from {image.width}x{image.height} to {size[0]}x{size[1]}.")
    return _without_metadata(image.resize(size, Image.Resampling.LANCZOS))


def _without_metadata(image: Image.Image) -> Image.Image:
    """The same pixels in a picture that remembers nothing else: no EXIF, no profile, no comments."""
    clean = Image.new("RGB", image.size)
    clean.paste(image)
    return clean


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return printable_name(text) if len(text) <= NAME_LENGTH else f"{text[:NAME_LENGTH]}..."


def encode_png(image: Image.Image) -> bytes:
    """The picture as PNG without any metadata; the same pixels always give the same bytes."""
    buffer = io.BytesIO()
    _without_metadata(image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
