"""Small WebP copies of stored pictures, made once and kept on the local disk."""

import io
import uuid
from contextlib import suppress
from pathlib import Path

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import Digest
from flenwheel_core.images.decode import Limits, decode
from flenwheel_core.store import Store

SIZES_PX = (160, 320, 1280)
"""Long sides that may be asked for: a few fixed ones, so that nobody can fill the disk with sizes."""

MAXIMUM_BYTES = 128 * 2**20


class Thumbnails:
    """The thumbnails of one store. Safe from several threads; deleting the folder costs time only."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def webp(self, digest: Digest, side_px: int) -> bytes:
        """The WebP copy of a picture; made now if it is not there. Raises NotFoundError, or InputError for what is no picture."""
        if side_px not in SIZES_PX:
            raise InputError(f"There are no thumbnails of {side_px} pixels.", remedy=f"Sizes are {SIZES_PX}.")
        path = self._folder / str(side_px) / digest[:2] / f"{digest}.webp"
        with suppress(FileNotFoundError):
            return path.read_bytes()
        made = self._made(digest, side_px)
        _keep(path, made)
        return made

    def _made(self, digest: Digest, side_px: int) -> bytes:
        data = self._store.get_blob(digest)
        image = decode(
            data, digest[:12], Limits(maximum_bytes=MAXIMUM_BYTES, maximum_side_px=side_px, quick=True)
        ).image
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=82, method=2)
        return buffer.getvalue()


def _keep(path: Path, data: bytes) -> None:
    """A disk that cannot be written to costs time only: the picture is shown all the same, and leaves nothing behind."""
    temporary = path.parent / f".tmp-{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
