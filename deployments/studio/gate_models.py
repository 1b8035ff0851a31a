"""What the gate API takes and gives."""

from typing import Annotated, Literal

from fastapi import Path
from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest, Slug
from flenwheel_core.base.plain_text import one_line
from flenwheel_core.documents.decisions import ClosedGate, Decision, GateVerdict, LateAnswer, UndecidedPolicy, Verdict
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.documents.scores import Screening
from flenwheel_core.gates.bulk import BulkRule
from flenwheel_core.gates.corrections import CorrectionCheck
from flenwheel_core.gates.flow_server import ResumeResult, RunStatus
from flenwheel_core.gates.fold import GateState, PictureState
from flenwheel_core.gates.kinds import GateKind
from flenwheel_core.gates.session import OpenedGate
from flenwheel_core.records.subject_place import SubjectBox

GateName = Annotated[Slug, Path(description="name of the gate")]
ImageDigest = Annotated[Digest, Path(description="digest of the picture")]
RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Author = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
Reason = Literal["identity", "anatomy", "expression", "angle", "background", "artifacts", "style", "duplicate", "other"]


def _typed(text: str) -> str:
    line = one_line(text)
    if not line:
        raise ValueError("a blank text says nothing; leave it out")
    return line


TypedLine = Annotated[str, AfterValidator(_typed)]
"""Words that a person typed or pasted: in one line, without what nobody sees."""


class DecideRequest(Document):
    """A verdict about one picture."""

    id: RequestId = Field(description="made by the client; the same id again is the same decision")
    author: Author
    verdict: Verdict | None = Field(description="null withdraws the author's verdict")
    reasons: tuple[Reason, ...] = Field(default=(), max_length=9)
    note: str = Field(default="", max_length=2000)
    caption: TypedLine | None = Field(default=None, min_length=1, max_length=4000)
    better_prompt: TypedLine | None = Field(default=None, min_length=1, max_length=4000)
    correction: Digest | None = Field(default=None, description="a corrected picture that was uploaded at this gate")
    over: tuple[RequestId, ...] = Field(default=(), max_length=50, description="decisions this one settles")


class BulkRequest(Document):
    """One verdict about many pictures."""

    id: RequestId
    author: Author
    rule: BulkRule
    verdict: Verdict | None
    reasons: tuple[Reason, ...] = Field(default=(), max_length=9)
    expected: int | None = Field(default=None, ge=0, description="refused if the rule now matches another number")


class BulkPreview(Document):
    """What a rule would change."""

    count: int
    images: tuple[Digest, ...]


class UndoRequest(Document):
    """Takes back the author's last decision, or last bulk decision."""

    id: RequestId
    author: Author


class FinishRequest(Document):
    """The answer to a gate."""

    author: Author
    verdict: GateVerdict
    undecided: UndecidedPolicy = "leave_out"
    override_minimum: bool = False


class Opinion(Document):
    """What one author says of a picture."""

    id: str
    author: str
    verdict: Verdict | None
    at: AwareDatetime


class StateView(Document):
    """What stands about one picture."""

    image: Digest
    verdict: Verdict | None = None
    conflict: bool = False
    reasons: tuple[str, ...] = ()
    note: str = ""
    caption: str | None = None
    better_prompt: str | None = None
    correction: Digest | None = None
    opinions: tuple[Opinion, ...] = ()


class Counts(Document):
    """How many pictures stand how."""

    total: int
    good: int
    needs_correction: int
    reject: int
    conflicts: int
    undecided: int


class Changes(Document):
    """States that changed after a revision."""

    revision: int
    states: tuple[StateView, ...]
    counts: Counts
    closed: ClosedGate | None = None


class Undone(Changes):
    """What an undo took back."""

    undone: Digest | None = Field(description="the picture, or one of them; null if there was nothing to take back")
    pictures: int = 0


class Columns(Document):
    """Every picture of a gate, by column: position i of each list is one picture."""

    digest: tuple[Digest, ...]
    source: tuple[int | None, ...] = Field(description="position in `sources`")
    sources: tuple[Digest, ...]
    cell: tuple[str | None, ...]
    outcome: tuple[str | None, ...]
    similarity: tuple[float | None, ...]
    sharpness: tuple[float | None, ...]


class GateSummary(Document):
    """A gate in one line."""

    gate: Slug
    kind: GateKind
    character: str
    turn: int
    round: int
    minimum: int
    counts: Counts
    closed: ClosedGate | None
    run: RunStatus | None = Field(
        default=None, description="how the waiting run stands, if the server was asked and answered"
    )


class GateView(GateSummary):
    """A gate as it stands."""

    opened_by: str | None = Field(description="the flow run that waits")
    person: bool
    critic: str = Field(
        default="", description="what the critic says of the gate, in a sentence; empty where none was asked"
    )
    set_aside: int = Field(default=0, description="pictures that the critic rejects unless a person decides otherwise")
    note: str = Field(default="", description="what a person should know before they answer")
    late_answers: tuple[LateAnswer, ...] = Field(default=(), description="answers that came second and did not count")
    run_address: str | None = None
    server: Literal["none", "up", "down"] = "none"
    server_message: str = ""


class GatePictures(Changes):
    """All pictures of a gate with what stands about them."""

    columns: Columns


class Compared(Document):
    """The picture to compare with."""

    image: Digest
    role: Literal["source", "nearest reference", "reference", "corrected"]


class PictureDetail(Document):
    """All that a reviewer needs to see about one picture."""

    record: ImageRecord
    screening: Screening | None
    state: StateView
    compare: tuple[Compared, ...]
    subject: SubjectBox


class CorrectionTaken(Changes):
    """An uploaded correction that passed its checks."""

    correction: Digest
    check: CorrectionCheck


class Finished(Document):
    """What became of a finish."""

    closed: ClosedGate
    first: bool = Field(description="false if the gate had been answered before; that answer stands")
    resumed: ResumeResult


def view(state: PictureState) -> StateView:
    """The state of a picture as the API gives it."""
    line = state.decision
    opinions = tuple(Opinion(id=o.id, author=o.author, verdict=o.verdict, at=o.at) for o in state.opinions)
    if line is None:
        return StateView(image=state.image, conflict=state.conflict, opinions=opinions)
    return StateView(
        image=state.image,
        verdict=line.verdict,
        reasons=line.reasons,
        note=line.note,
        caption=line.caption,
        better_prompt=line.better_prompt,
        correction=line.correction,
        opinions=opinions,
    )


def counts(opened: OpenedGate, state: GateState) -> Counts:
    """How many pictures of a gate stand how."""
    return Counts.model_validate({"total": len(opened.images), **state.counts(len(opened.images))})


def changes_after(opened: OpenedGate, revision: int, closed: ClosedGate | None, *, written: bool = False) -> Changes:
    """What changed after a revision; everything if the revision is not one of this gate's. `written`: the gate was read a moment ago."""
    with opened.lock:
        state = opened.known() if written else opened.state()
        since = revision if 0 <= revision <= len(state.changes) else 0
        touched = dict.fromkeys(state.changes[since:])
        states = tuple(view(state.picture(image)) for image in touched)
        return Changes(revision=len(state.changes), states=states, counts=counts(opened, state), closed=closed)


def to_decision(request: DecideRequest, image: Digest, at: AwareDatetime) -> Decision:
    """The journal line of a request."""
    return Decision(image=image, at=at, **{name: getattr(request, name) for name in type(request).model_fields})
