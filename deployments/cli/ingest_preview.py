"""What `flenwheel ingest` would take of a folder, with the captions that would be learned. Nothing is written."""

from pathlib import Path

from flenwheel_core.base.errors import InputError, MissingWeightsError
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.identity.given_captions import training_caption
from flenwheel_core.images.decode import Limits, check_picture
from flenwheel_core.images.entries import read_entry
from flenwheel_core.images.folder import FoundFile, FoundFolder
from flenwheel_core.images.masks import read_mask
from flenwheel_core.images.names import printable_name, printable_path
from flenwheel_core.recipes.model import Recipe


def preview(found: FoundFolder, character: CharacterRef, recipe: Recipe) -> list[str]:
    """Lines for a person: a picture each with its mask, what is not used, and a sum.

    Copies and faces are looked at by the real ingest only.
    """
    lines, taken, captions, masks = [], 0, 0, 0
    for file in found.files:
        name, (size, trouble) = printable_path(file.name), _looked_at(file, recipe)
        if trouble:
            lines.append(f"{name}: left out. {trouble}")
            continue
        taken += 1
        if file.mask is not None:
            usable, said = _mask(file.mask, size, recipe)
            masks += usable
            lines.append(f"{name}: {said}")
        if not file.caption:
            lines.append(f"{name}: no caption, it gets one from what it shows")
            continue
        captions += 1
        made = training_caption(file.caption, character, recipe.train.text_tokens)
        lines += [f"{name}: {made.text}", *(f"{name}: {doubt.message}" for doubt in made.doubts)]
    own = f"{captions} with captions of their own" + (f", {masks} with masks" if masks else "")
    total = f"{taken} picture{'s' * (taken != 1)} would be taken, {own}, as {character.name}"
    return [*lines, *found.notes, f"{total} ({character.trigger} {character.class_word}). Nothing was changed."]


def _looked_at(file: FoundFile, recipe: Recipe) -> tuple[tuple[int, int], str]:
    """Width and height of a file, and why it is no usable picture; empty if it is one."""
    choices = recipe.ingest
    try:
        limits = Limits(maximum_megapixels=choices.maximum_megapixels)
        found = check_picture(read_entry(file.path), file.name, limits)
    except (InputError, MissingWeightsError) as error:
        return (0, 0), error.what
    side = min(found.size)
    if side < choices.minimum_side_px:
        return found.size, f"Its shorter side is {side} px; {choices.minimum_side_px} are needed."
    return found.size, ""


def _mask(path: Path, size: tuple[int, int], recipe: Recipe) -> tuple[bool, str]:
    """Whether a picture's mask can be used, and a line about it."""
    shown = printable_name(path.name)
    try:
        limits = Limits(maximum_megapixels=recipe.ingest.maximum_megapixels)
        _, found = read_mask(read_entry(path), shown, size, limits)
    except (InputError, MissingWeightsError) as error:
        return False, f"{error.what.rstrip('.')}; it would be learned without."
    return True, f"with the mask {shown}" + ("" if found == size else ", which would be scaled to its size")
