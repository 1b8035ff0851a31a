"""What `flenwheel ingest` would take of a folder, with the captions that would be learned. Nothing is written."""

from flenwheel_core.base.errors import InputError, MissingWeightsError
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.identity.given_captions import training_caption
from flenwheel_core.images.decode import Limits, check_picture
from flenwheel_core.images.entries import read_entry
from flenwheel_core.images.folder import FoundFile, FoundFolder
from flenwheel_core.images.names import printable_path
from flenwheel_core.recipes.model import Recipe


def preview(found: FoundFolder, character: CharacterRef, recipe: Recipe) -> list[str]:
    """Lines for a person: a picture each, what is not used, and a sum. Copies and faces are looked at by the real ingest only."""
    lines, taken, captions = [], 0, 0
    for file in found.files:
        name, trouble = printable_path(file.name), _trouble(file, recipe)
        if trouble:
            lines.append(f"{name}: left out. {trouble}")
            continue
        taken += 1
        if not file.caption:
            lines.append(f"{name}: no caption, it gets one from what it shows")
            continue
        captions += 1
        made = training_caption(file.caption, character, recipe.train.text_tokens)
        lines += [f"{name}: {made.text}", *(f"{name}: {doubt.message}" for doubt in made.doubts)]
    total = f"{taken} pictures would be taken, {captions} with captions of their own, as {character.name}"
    return [*lines, *found.notes, f"{total} ({character.trigger} {character.class_word}). Nothing was changed."]


def _trouble(file: FoundFile, recipe: Recipe) -> str | None:
    """Why a file is no usable picture; None if it is one."""
    choices = recipe.ingest
    try:
        limits = Limits(maximum_megapixels=choices.maximum_megapixels)
        found = check_picture(read_entry(file.path), file.name, limits)
    except (InputError, MissingWeightsError) as error:
        return error.what
    side = min(found.size)
    if side < choices.minimum_side_px:
        return f"Its shorter side is {side} px; {choices.minimum_side_px} are needed."
    return None
