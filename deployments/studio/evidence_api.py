"""The API of what a gate tells besides its pictures: how its LoRA was chosen, and which pictures of the pool are doubtful."""

from fastapi import APIRouter
from pydantic import Field

from deployments.studio.gate_models import Author, GateName, ImageDigest
from deployments.studio.studio import Studio, TheStudio
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import GateError, NotFoundError
from flenwheel_core.documents.choices import StateChoice
from flenwheel_core.documents.doubts import Doubt, DoubtDecided
from flenwheel_core.evaluation.state_curve import curve_words, state_curve
from flenwheel_core.library.choices import Choices, StateTaken
from flenwheel_core.library.doubts import Doubts
from flenwheel_core.records.exports import export_again
from flenwheel_core.reports.evidence import gate_evidence
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import EXPORT

router = APIRouter(tags=["gates"])


class DoubtView(Document):
    """A doubtful picture, what was found of it, and what stands."""

    doubt: Doubt
    said: tuple[str, ...]
    keep: bool | None = Field(description="what a person decided; null: nobody did, and it is trained on")
    by: str = ""


class EvidenceView(Document):
    """The evidence of a gate as it was when it opened, and what people said of it since."""

    choice: StateChoice | None
    choice_said: tuple[str, ...]
    curve: str = Field(description="SVG")
    taken: StateTaken | None = Field(description="what a person took in place of the chosen state")
    doubts: tuple[DoubtView, ...]


class TakeState(Document):
    """Another state of the LoRA's training."""

    step: int = Field(ge=1, le=1_000_000)
    strength: float = Field(default=1.0, gt=0, le=2)
    author: Author
    why: str = Field(default="", max_length=1000)


class DecideDoubt(Document):
    """Whether a doubtful picture is trained on."""

    keep: bool
    author: Author


@router.get("/gates/{gate}/evidence")
def get_evidence(studio: TheStudio, gate: GateName) -> EvidenceView:
    """How the gate's LoRA was chosen, and which pictures of the pool are doubtful."""
    view = evidence_view(studio, gate)
    if view is None:
        raise NotFoundError(
            f"The gate {gate} has nothing to tell besides its pictures.",
            why="its recipe tries no states of a training and looks for no doubtful pictures, or there was nothing to find.",
        )
    return view


@router.post("/gates/{gate}/state")
def take_state(studio: TheStudio, gate: GateName, request: TakeState) -> EvidenceView:
    """Takes another state of the training: the turn goes on with it. In place of the champion it becomes the champion and is exported."""
    view = _open_evidence(studio, gate)
    if view.choice is None:
        raise NotFoundError(f"No states were tried for the gate {gate}.")
    character = studio.reviews.get(gate).character
    choices = Choices(studio.store, character)
    taken = choices.overrule(view.choice.name, request.step, request.strength, by=request.author, why=request.why)
    champion = studio.library.champion(character)
    again = export_again(studio.store, character) if champion is not None and champion.lora == taken.lora else None
    if again is not None:
        run_in_child(EXPORT, again, studio.settings, lambda event: None)
    return _open_evidence(studio, gate)


@router.post("/gates/{gate}/doubts/{image}")
def decide_doubt(studio: TheStudio, gate: GateName, image: ImageDigest, request: DecideDoubt) -> EvidenceView:
    """Keeps a doubtful picture in the training, or leaves it out; a later decision counts."""
    view = _open_evidence(studio, gate)
    if all(one.doubt.image != image for one in view.doubts):
        raise NotFoundError(f"The gate {gate} shows no doubtful picture {image[:12]}.")
    character = studio.reviews.get(gate).character
    Doubts(studio.store, character).decide(image, keep=request.keep, by=request.author, gate=gate)
    return _open_evidence(studio, gate)


def evidence_view(studio: Studio, gate: str) -> EvidenceView | None:
    """What a gate tells; None where there is nothing."""
    session = studio.reviews.gate(gate).session
    if session.evidence is None:
        return None
    found = gate_evidence(studio.store, session.evidence)
    decided: dict[str, DoubtDecided] = Doubts(studio.store, session.character).decided()
    choice, taken = found.choice, None
    if choice is not None:
        request, _ = Choices(studio.store, session.character).find(choice.name)
        taken = Choices(studio.store, session.character).taken(request.lora)
    return EvidenceView(
        choice=choice,
        choice_said=tuple(curve_words(choice)) if choice is not None else (),
        curve=state_curve(choice) if choice is not None else "",
        taken=taken,
        doubts=tuple(
            DoubtView(
                doubt=one,
                said=one.sentences(),
                keep=decided[one.image].keep if one.image in decided else None,
                by=decided[one.image].by if one.image in decided else "",
            )
            for one in found.doubts
        ),
    )


def _open_evidence(studio: Studio, gate: str) -> EvidenceView:
    """The evidence of a gate that waits. Raises GateError for one that was answered."""
    if studio.reviews.closed(gate) is not None:
        raise GateError(
            f"The gate {gate} is closed.",
            remedy="Say it for the turns to come with flenwheel choose or flenwheel doubts.",
        )
    return get_evidence(studio, gate)
