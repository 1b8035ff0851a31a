"""Did an edit that should keep the frame shift or zoom it? A hint for the person at gate A: one click on good would teach it.

It says nothing where the plan changes angle or pose, where another picture than a source was edited, or where too little of the
picture stays to tell.
"""

from collections.abc import Sequence
from functools import lru_cache

from PIL import Image

from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.scores import ScreenReason
from flenwheel_core.images.difference import Pair, moves
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture

SIDE_PX = 512
"""Pictures are compared as copies of this long side."""
SAME_SHAPE = 0.05
"""An edit whose aspect differs more from its source's was cut, and cannot be compared. Editors round to multiples of 32."""


class Frames:
    """Small copies of the sources, to compare edits with."""

    def __init__(self, store: Store, sources: Sequence[ImageRecord]) -> None:
        self._sources = {record.digest: record for record in sources}
        self._small = lru_cache(maxsize=64)(lambda digest: _small(load_picture(store, digest)))

    def moved(self, record: ImageRecord, image: Image.Image) -> ScreenReason | None:
        """How far an edit left its source's frame; None if it stayed, or if that cannot be told."""
        source = self._sources.get(record.parents[0]) if _is_edit(record) else None
        if source is None or not _keeps_frame(record, source):
            return None
        edit = _small(image)
        try:
            before = self._small(source.digest)
        except (FlenwheelError, OSError):
            return None
        if abs((before.width / before.height) / (edit.width / edit.height) - 1) > SAME_SHAPE:
            return None
        found = moves(Pair(before.resize(edit.size), edit))
        if not found:
            return None
        return ScreenReason(
            code="misaligned", value=found[0].value, limit=found[0].limit, detail=f"{found[0].code} against its source"
        )


def _keeps_frame(record: ImageRecord, source: ImageRecord) -> bool:
    """True unless the plan asks for another angle or pose than the source has."""
    asked, has = record.labels, source.labels
    return asked.angle in (None, has.angle) and asked.pose in (None, has.pose)


def _small(image: Image.Image) -> Image.Image:
    scale = SIDE_PX / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX)


def _is_edit(record: ImageRecord) -> bool:
    """True for what an editor made of a source, with further references or without; a corrected picture has the edit behind it too."""
    return record.kind is ImageKind.ENRICHED and bool(record.parents)
