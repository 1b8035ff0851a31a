"""The API that sorts what a person drops: which files are pictures of the character, and with which captions.

A browser knows names; what a name means, and how a text is encoded, is known here, once for the command line and the studio.
"""

from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile
from pydantic import Field, TypeAdapter, ValidationError

from deployments.studio.drop_in import MOST_MASK_BYTES, SOURCE_LIMITS
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.images.entries import HIDDEN, is_missed
from flenwheel_core.images.folder import sort_folder
from flenwheel_core.images.names import printable_path, written_name

router = APIRouter(tags=["characters and turns"])
MOST_NAMES = 5000
_NAMES: TypeAdapter[list[str]] = TypeAdapter(
    Annotated[list[Annotated[str, Field(min_length=1, max_length=300)]], Field(max_length=MOST_NAMES)]
)
_LEFTOVERS = ("__MACOSX",)


class SortedPicture(Document):
    """A picture to upload, with the caption that was found for it."""

    name: str
    caption: str | None
    mask: str | None = Field(default=None, description="the name of its mask, to be sent with it")


class SortedFiles(Document):
    """The pictures among the files that were named, and one line about everything else."""

    pictures: tuple[SortedPicture, ...]
    notes: tuple[str, ...]
    most_bytes: int = Field(description="larger pictures are refused")
    most_mask_bytes: int = Field(description="larger masks are left out")


@router.post("/folders/sorted")
def sort_files(
    names: Annotated[str, Form(max_length=2 * 2**20, description="names of all files, a JSON list of paths")],
    texts: Annotated[list[UploadFile] | None, File(description="the files that may hold captions")] = None,
) -> SortedFiles:
    """Sorts files by their names and reads captions out of the texts among them. Nothing is kept."""
    try:
        wanted = [written_name(name) for name in _NAMES.validate_json(names)]
    except ValidationError as error:
        raise InputError(
            "The names of the files cannot be read.", why=error.errors()[0]["msg"], remedy="Send a JSON list of paths."
        ) from error
    visible = tuple(dict.fromkeys(name for name in wanted if not _is_hidden(name)))
    sent = {written_name(text.filename or ""): text for text in texts or ()}

    def read(name: str) -> bytes:
        if name not in sent:
            raise InputError("Its text was not sent.")
        return sent[name].file.read()

    found = sort_folder(visible, read)
    pictures = tuple(
        SortedPicture(name=name, caption=caption, mask=found.masks.get(name))
        for name, caption in found.captions.items()
    )
    hidden = tuple(f"{printable_path(name)}: left out, {HIDDEN}." for name in wanted if is_missed(name))
    return SortedFiles(
        pictures=pictures,
        notes=(*hidden, *found.notes),
        most_bytes=SOURCE_LIMITS.maximum_bytes,
        most_mask_bytes=MOST_MASK_BYTES,
    )


def _is_hidden(name: str) -> bool:
    return not PurePosixPath(name).name or any(part.startswith(".") or part in _LEFTOVERS for part in name.split("/"))
