"""The API of the critic: what it says of the pictures of a gate, in columns."""

from fastapi import APIRouter
from pydantic import Field

from deployments.studio.gate_models import GateName
from deployments.studio.studio import TheStudio
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.critics import Cut, RungName

router = APIRouter(tags=["gates"])


class CriticColumns(Document):
    """What the critic says: position i of each list is picture i of the gate, as made."""

    said: str = Field(description="one sentence for people")
    critic: Digest | None = Field(description="the critic that orders; null while none has learned")
    guard: Digest | None = Field(description="the critic whose bound it is")
    rung: RungName | None
    verdicts: int
    cut: Cut | None
    rejects: bool
    look_at: int
    useful_place: tuple[int, ...]
    good_place: tuple[int, ...]
    chances: tuple[tuple[float, float, float] | None, ...] = Field(description="of reject, needs_correction, good")
    reasons: tuple[tuple[str, ...], ...]
    why: tuple[str, ...]
    by_lot: tuple[bool, ...]
    audit: tuple[bool, ...]
    says_reject: tuple[bool, ...]
    set_aside: tuple[bool, ...]


@router.get("/gates/{gate}/critic")
def get_critic(studio: TheStudio, gate: GateName) -> CriticColumns:
    """What the critic says of a gate's pictures, as it was when the gate opened."""
    view = studio.reviews.gate(gate).critic_view
    if view is None:
        raise NotFoundError(
            f"No critic put the gate {gate} in order.",
            why="critic.learns is off in the recipe, or it failed; then the log of the run says why.",
        )
    shown = view.model_dump(include={"said", "critic", "guard", "rung", "verdicts", "cut", "rejects", "look_at"})
    names = CriticColumns.model_fields.keys() - shown.keys()
    return CriticColumns.model_validate({**shown, **{n: tuple(getattr(p, n) for p in view.pictures) for n in names}})
