"""Which picture of a folder a mask belongs to, by their names."""

from collections.abc import Mapping, Sequence

from flenwheel_core.images.folder_notes import FolderNotes
from flenwheel_core.images.folder_shapes import masked_stems, role_of, stem_of

USED = "masks, used with their pictures: training weighs what they leave black less."
NO_PICTURE = "left out: masks, and no picture here is theirs by its name."
ANOTHER = "left out: masks of pictures that have another mask already."


def masks_of(pictures: Sequence[str], masks: Sequence[str], notes: FolderNotes) -> Mapping[str, str]:
    """The mask of each picture that has one. A line about every mask."""
    by_stem: dict[str, list[str]] = {}
    by_name: dict[str, list[str]] = {}
    for picture in pictures:
        stem = stem_of(picture)
        by_stem.setdefault(stem, []).append(picture)
        by_name.setdefault(_last(stem), []).append(picture)
    found: dict[str, str] = {}
    for mask in masks:
        theirs = _pictures(mask, by_stem, by_name)
        free = [picture for picture in theirs if picture not in found]
        found |= dict.fromkeys(free, mask)
        notes.about(mask, USED if free else ANOTHER if theirs else NO_PICTURE)
    return found


def is_mask_beside(name: str, picture: str) -> bool:
    """True for the name of a file beside a picture that is its mask."""
    stem = stem_of(picture)
    return name != picture and role_of(name, frozenset({stem})) == "mask" and stem in masked_stems(name)


def _pictures(mask: str, by_stem: Mapping[str, list[str]], by_name: Mapping[str, list[str]]) -> list[str]:
    stems = masked_stems(mask)
    for stem in stems:
        if stem in by_stem:
            return by_stem[stem]
    # The folder of masks may lie beside that of the pictures: then the name is enough, if only one picture has it.
    for stem in stems:
        alike = by_name.get(_last(stem), [])
        if len(alike) == 1:
            return alike
    return []


def _last(stem: str) -> str:
    return stem.rsplit("/", 1)[-1]
