"""The API of framings: what of a source picture is the character's, as ingest found it or as a person says."""

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from deployments.studio.drop_in import IngestReport
from deployments.studio.gate_models import ImageDigest
from deployments.studio.library_api import CharacterName
from deployments.studio.studio import Studio, TheStudio
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.ids import Digest, short
from flenwheel_core.documents.framings import FaceSeen, Framing, SourceFraming

router = APIRouter(tags=["characters and turns"])


class FramingView(Document):
    """How a source picture is framed now."""

    file: str
    framing: Framing
    by: Literal["person", "ingest", "nobody"] = Field(description="nobody: it is learned whole")
    faces: tuple[FaceSeen, ...] = Field(default=(), description="what the last reading of the pictures found")


class SayFraming(Document):
    """What a person says of a picture; nothing takes it back, so that ingest looks itself again."""

    framing: Framing | None


@router.get("/characters/{name}/sources/{image}/framing")
def get_framing(studio: TheStudio, name: CharacterName, image: ImageDigest) -> FramingView:
    """The cut and the hidden parts of a source picture, and the faces in it."""
    studio.library.character(name)
    file = next((one for one in studio.library.sources(name) if one.digest == image), None)
    if file is None:
        raise NotFoundError(f"{name} has no source {short(image)}.")
    found = _found(studio.drop_in.report(name)).get(image)
    faces = found.faces if found is not None else ()
    if file.framing is not None:
        return FramingView(file=file.name, framing=file.framing, by="person", faces=faces)
    if found is not None and found.by == "ingest":
        return FramingView(file=file.name, framing=found.framing, by="ingest", faces=faces)
    return FramingView(file=file.name, framing=Framing(), by="nobody", faces=faces)


@router.post("/characters/{name}/sources/{image}/framing")
def say_framing(studio: TheStudio, name: CharacterName, image: ImageDigest, said: SayFraming) -> FramingView:
    """Cuts a source picture, or hides parts of it from training. It counts when the pictures are read again."""
    studio.library.character(name)
    studio.drop_in.frame(name, image, said.framing)
    return get_framing(studio, name, image)


def framing_notes(studio: Studio, name: str, report: IngestReport) -> dict[Digest, str]:
    """A few words about every source picture that is not simply learned whole."""
    found = _found(report)
    notes = {digest: _words(one.framing, len(one.faces), one.by) for digest, one in found.items()}
    for file in studio.overview.library.sources(name):
        read = found.get(file.digest)
        if file.framing is not None and (read is None or read.framing != file.framing or read.by != "person"):
            notes[file.digest] = "framed by you; read the pictures again"
        elif file.framing is None and read is not None and read.by == "person":
            notes[file.digest] = "your framing was taken back; read the pictures again"
    return {digest: text for digest, text in notes.items() if text}


def _found(report: IngestReport) -> dict[Digest, SourceFraming]:
    result = report.result
    return {one.given: one for one in result.framings} if result is not None else {}


def _words(framing: Framing, faces: int, by: str) -> str:
    people = f"{faces} people, " if faces > 1 else ""
    done = "cut" if framing.crop is not None else "whole"
    hidden = f", {len(framing.hidden)} hidden" if framing.hidden else ""
    return f"{people}{done}{hidden}{' by you' if by == 'person' else ''}"
