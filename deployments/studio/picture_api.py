"""The API of pictures: files, thumbnails, corrections. Pictures are named by digest only; no path from a URL reaches the disk."""

import uuid
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.responses import Response

from deployments.studio.gate_api import record_of
from deployments.studio.gate_models import (
    Author,
    CorrectionTaken,
    GateName,
    ImageDigest,
    RequestId,
    changes_after,
)
from deployments.studio.studio import TheStudio
from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.ids import short
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.gates.corrections import accept_correction

router = APIRouter(tags=["pictures"])

FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class Side(IntEnum):
    """Long sides of thumbnails, in pixels."""

    SMALL = 160
    MEDIUM = 320
    LARGE = 1280


PICTURE: dict[str, object] = {"content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}}}


@router.get("/pictures/{image}/file", response_class=Response, responses={200: PICTURE})
def get_file(studio: TheStudio, image: ImageDigest) -> Response:
    """The stored picture, every pixel of it. Other files of the store are not served here."""
    data = studio.store.get_blob(image)
    kind = next((kind for magic, kind in MAGIC.items() if data.startswith(magic)), None)
    if kind is None:
        raise NotFoundError(f"{short(image)} is no picture.")
    return Response(data, media_type=kind, headers=FOREVER)


@router.get("/pictures/{image}/thumbnail/{side_px}", response_class=Response, responses={200: PICTURE})
def get_thumbnail(studio: TheStudio, image: ImageDigest, side_px: Side) -> Response:
    """A small WebP copy of the picture."""
    return Response(studio.thumbnails.webp(image, side_px.value), media_type="image/webp", headers=FOREVER)


@router.post("/gates/{gate}/pictures/{image}/correction")
def upload_correction(
    studio: TheStudio,
    gate: GateName,
    image: ImageDigest,
    file: Annotated[UploadFile, File(description="the corrected picture")],
    author: Annotated[Author, Form()],
    id: Annotated[RequestId | None, Form()] = None,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> CorrectionTaken:
    """Takes a corrected picture: same size or aspect, aligned with the edit, and not the edit unchanged. Re-encoded before it is kept."""
    opened = studio.reviews.gate(gate)
    edit = record_of(opened, image)
    session = opened.session.content_digest()
    data = file.file.read()
    record, check = accept_correction(studio.store, data, file.filename or "upload", edit, gate=gate, request=session)
    studio.reviews.keep_correction(gate, record)
    before = opened.state().picture(image).decision
    decision = Decision(
        id=id or uuid.uuid4().hex,
        at=datetime.now(UTC),
        author=author,
        image=image,
        verdict=Verdict.NEEDS_CORRECTION,
        reasons=before.reasons if before is not None else (),
        caption=before.caption if before is not None else None,
        correction=record.digest,
    )
    studio.reviews.decide(gate, decision)
    return CorrectionTaken(**dict(changes_after(opened, after, None)), correction=record.digest, check=check)
