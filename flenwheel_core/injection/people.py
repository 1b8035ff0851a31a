"""Photos that show several people say of nobody who is meant."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import InputError
from flenwheel_core.identity.protocols import Verifier

if TYPE_CHECKING:
    from PIL.Image import Image


def require_one_person(verifier: Verifier, photos: "Sequence[tuple[str, Image]]") -> None:
    """Raises InputError for a photo, by its name, with another face nearly as large; a photo without a face may be a view from behind."""
    for name, image in photos:
        (found,) = verifier.embed([image])
        if found.problem == "extra_faces":
            raise InputError(
                f"{name} shows several people.",
                why="nothing says which of them is meant.",
                remedy="Cut it to one person, or leave it out.",
            )
