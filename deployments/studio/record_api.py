"""The API of records: the gallery, lineage, LoRA versions, edit-prompt statistics."""

from typing import Annotated

from fastapi import APIRouter, File, Query, UploadFile

from deployments.studio.gate_models import ImageDigest
from deployments.studio.library_api import CharacterName
from deployments.studio.studio import TheStudio
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.ids import Digest, digest_bytes, short
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.images.decode import Limits, check_picture
from flenwheel_core.records.gallery import GalleryPage, LoraView, PromptStatistics, TurnScore
from flenwheel_core.records.provenance import Lineage

router = APIRouter(tags=["records"])
DROP_LIMITS = Limits(maximum_megapixels=120, maximum_bytes=64 * 2**20)
CharacterFilter = Annotated[str | None, Query(max_length=63, description="only this character's")]


class LineageView(Document):
    """A picture or LoRA, its facts, and what it was made from."""

    kind: str
    digest: str
    facts: tuple[tuple[str, str], ...]
    parents: "tuple[LineageView, ...]" = ()


class RecordFound(Document):
    """The record of a dropped picture."""

    digest: Digest
    title: str
    how: str


@router.get("/gallery")
def get_gallery(
    studio: TheStudio,
    character: CharacterFilter = None,
    kind: ImageKind | None = None,
    cell: Annotated[str | None, Query(max_length=40)] = None,
    offset: Annotated[int, Query(ge=0, le=10**7)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 60,
) -> GalleryPage:
    """Pictures of the workspace, page by page."""
    return studio.records.gallery(character=character, kind=kind, cell=cell, offset=offset, limit=limit)


@router.get("/pictures/{image}/lineage")
def get_lineage(studio: TheStudio, image: ImageDigest) -> LineageView:
    """Where a picture comes from."""
    return lineage_view(studio.records.provenance().lineage(image))


@router.post("/lineage")
def find_record(studio: TheStudio, file: Annotated[UploadFile, File(description="a picture")]) -> RecordFound:
    """The record of a picture: by its bytes, or, if it was saved again, by what is written in its PNG text."""
    data = file.file.read()
    written = dict(check_picture(data, file.filename or "picture", DROP_LIMITS).written)
    images = studio.records.provenance().images()
    record = images.get(digest_bytes(data))
    if record is not None:
        return _found(record, "the very file")
    request, item = written.get("flenwheel.request"), written.get("flenwheel.item")
    for candidate in images.values():
        if request is not None and (candidate.request, candidate.item) == (request, item):
            return _found(candidate, "the text in the PNG; its pixels or text were changed since")
    raise NotFoundError(
        "There is no record of this picture in this workspace.",
        why="neither its bytes nor the text in it are known here.",
        remedy="It may belong to another workspace, or have lost its text in another program.",
    )


@router.get("/loras")
def list_loras(studio: TheStudio) -> list[LoraView]:
    """Every LoRA version, champions first."""
    return studio.records.loras()


@router.get("/loras/{image}")
def get_lora(studio: TheStudio, image: ImageDigest) -> LoraView:
    """One LoRA: samples by step and prompt, loss, benchmarks."""
    return studio.records.lora(image)


@router.get("/characters/{name}/scores")
def get_scores(studio: TheStudio, name: CharacterName) -> list[TurnScore]:
    """Model cards over the turns of a character."""
    studio.library.character(name)
    return studio.records.scores(name)


@router.get("/edit-prompts")
def get_prompts(studio: TheStudio, character: CharacterFilter = None) -> PromptStatistics:
    """How prompt templates fared: made, screened out, reviewed, good, and why not."""
    return studio.records.prompts(character)


def lineage_view(lineage: Lineage) -> LineageView:
    """The lineage as the API gives it."""
    parents = tuple(lineage_view(parent) for parent in lineage.parents)
    return LineageView(kind=lineage.kind, digest=lineage.digest, facts=lineage.facts, parents=parents)


def _found(record: ImageRecord, how: str) -> RecordFound:
    title = f"{record.kind.value} image {short(record.digest)}, turn {record.turn}"
    return RecordFound(digest=record.digest, title=title, how=how)
