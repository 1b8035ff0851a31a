"""Decoding pictures that strangers made: within limits of time and memory, in a process that can be ended.

Everything that opens a picture from outside goes through here: folders, uploads, corrections, triplets, thumbnails of sources.
The pixels are those that `reading` gives, on every machine; a picture beyond its limits is an InputError like a damaged one.
"""

from PIL import Image

from flenwheel_core.images.decoders import shared_decoders
from flenwheel_core.images.messages import Found, Job
from flenwheel_core.images.names import written_name
from flenwheel_core.images.reading import Decoded, Limits

__all__ = ["Decoded", "Limits", "check_picture", "decode"]

ORDINARY = Limits()


def decode(data: bytes, name: str, limits: Limits = ORDINARY) -> Decoded:
    """The picture in `data`, without metadata.

    Raises InputError if it is no picture, damaged, or beyond `limits` of size, time and memory, and BusyError if too many are being read.
    """
    found, pixels = shared_decoders().read(_job(name, limits, pixels=True), data)
    image = Image.frombytes("RGB", found.scaled, pixels)
    return Decoded(image, found.format, found.notes, found.size, found.written)


def check_picture(data: bytes, name: str, limits: Limits = ORDINARY) -> Found:
    """What a picture is, once all of it was decoded; its pixels stay where they are. Raises as `decode` does."""
    found, _ = shared_decoders().read(_job(name, limits, pixels=False), data)
    return found


def _job(name: str, limits: Limits, *, pixels: bool) -> Job:
    return Job(name=written_name(name), limits=limits, pixels=pixels)
