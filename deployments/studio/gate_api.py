"""The API of gates: what is in them, decisions, undo, bulk, and the finish."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from deployments.studio.gate_models import (
    BulkPreview,
    BulkRequest,
    Changes,
    Columns,
    Compared,
    Counts,
    DecideRequest,
    Finished,
    FinishRequest,
    GateName,
    GatePictures,
    GateSummary,
    GateView,
    ImageDigest,
    PictureDetail,
    Undone,
    UndoRequest,
    changes_after,
    counts,
    to_decision,
    view,
)
from deployments.studio.studio import Studio, TheStudio
from flenwheel_core.base.errors import GateError, NotFoundError, ServerError
from flenwheel_core.base.ids import short
from flenwheel_core.documents.characters import SubjectKind
from flenwheel_core.documents.decisions import Decision, UndecidedPolicy
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.gates.bulk import BulkRule, matching
from flenwheel_core.gates.flow_server import GOES_ON, ResumeResult, RunStatus, deleted_run
from flenwheel_core.gates.session import OpenedGate
from flenwheel_core.gates.settle import check_decision
from flenwheel_core.gates.summary import FinishSummary, check_answer, picture_cell, summarise
from flenwheel_core.images.decode import decode
from flenwheel_core.records.open_turns import end_turn, open_turns
from flenwheel_core.records.overview import GateLine
from flenwheel_core.records.subject_place import SubjectBox, find_subject

router = APIRouter(tags=["gates"])
Offset = Annotated[int, Query(ge=0, le=10**7)]
Revision = Annotated[int, Query(ge=0, le=2**53, description="the revision the client has")]


@router.get("/gates")
def list_gates(
    studio: TheStudio,
    character: Annotated[str | None, Query(max_length=63)] = None,
    offset: Offset = 0,
    limit: Annotated[int | None, Query(ge=1, le=10**6, description="so many at most; all if left out")] = None,
) -> list[GateSummary]:
    """Every gate, open ones first, the newest turn first."""
    return gate_summaries(studio, studio.overview.gates(character, offset=offset, limit=limit).shown)


@router.get("/gates/{gate}")
def get_gate(studio: TheStudio, gate: GateName) -> GateView:
    """One gate, with the state of the run that waits for it."""
    return gate_view(studio, gate, ask_server=True)


@router.get("/gates/{gate}/pictures", response_model=GatePictures)
def list_pictures(studio: TheStudio, gate: GateName) -> Response:
    """All pictures of a gate in columns, with what stands about them: everything a client needs to sort and filter."""
    opened = studio.reviews.gate(gate)
    changes = changes_after(opened, 0, studio.reviews.closed(gate)).model_dump_json()
    # The columns never change and are the larger part, so they are put into words once.
    return Response(f'{changes[:-1]},"columns":{columns_json(opened)}}}', media_type="application/json")


@router.get("/gates/{gate}/changes")
def list_changes(studio: TheStudio, gate: GateName, after: Revision = 0) -> Changes:
    """What changed after a revision: decisions of this and other reviewers, and whether the gate was answered."""
    return changes_after(studio.reviews.gate(gate), after, studio.reviews.closed(gate))


@router.get("/gates/{gate}/pictures/{image}")
def get_picture(studio: TheStudio, gate: GateName, image: ImageDigest) -> PictureDetail:
    """One picture with its prompt, scores, reasons, and what to compare it with."""
    opened = studio.reviews.gate(gate)
    record = record_of(opened, image)
    screening = opened.screenings.get(image)
    state = view(opened.state().picture(image))
    compare = [Compared(image=parent, role="source") for parent in record.parents[:1]]
    if state.correction is not None:
        compare.insert(0, Compared(image=state.correction, role="corrected"))
    if screening is not None and screening.nearest_reference is not None:
        compare.append(Compared(image=screening.nearest_reference, role="nearest reference"))
    if not compare and opened.session.references is not None:
        references = studio.store.get_images(opened.session.references)
        compare = [Compared(image=reference.digest, role="reference") for reference in references[:1]]
    subject = _subject(studio, opened, image)
    return PictureDetail(record=record, screening=screening, state=state, compare=tuple(compare), subject=subject)


@router.post("/gates/{gate}/pictures/{image}/decision")
def decide(
    studio: TheStudio, gate: GateName, image: ImageDigest, request: DecideRequest, after: Revision = 0
) -> Changes:
    """Records a verdict; it is on disk when the answer comes."""
    opened = studio.reviews.gate(gate)
    decision = to_decision(request, image, datetime.now(UTC))
    check_decision(decision, opened.session.of_kind)
    if request.correction is not None and request.correction not in studio.reviews.corrections(gate):
        raise NotFoundError(
            f"No correction {short(request.correction)} was uploaded at this gate.", remedy="Upload the picture first."
        )
    # Not the one from above: it may have made room for other gates meanwhile, and would not know of the decision.
    opened = studio.reviews.decide(gate, decision)
    return changes_after(opened, after, None, written=True)


@router.post("/gates/{gate}/undo")
def undo(studio: TheStudio, gate: GateName, request: UndoRequest, after: Revision = 0) -> Undone:
    """Takes back the author's last decision or bulk decision, also one from before a restart."""
    taken = studio.reviews.undo(gate, request.author, request.id)
    changes = changes_after(studio.reviews.gate(gate), after, None)
    image = taken.image if taken is not None else None
    return Undone(**dict(changes), undone=image, pictures=len(changes.states) if taken is not None else 0)


@router.post("/gates/{gate}/bulk/preview")
def preview_bulk(studio: TheStudio, gate: GateName, rule: BulkRule) -> BulkPreview:
    """Which pictures a rule matches now, and how many."""
    images = matching(studio.reviews.gate(gate), rule)
    return BulkPreview(count=len(images), images=images)


@router.post("/gates/{gate}/bulk")
def decide_bulk(studio: TheStudio, gate: GateName, request: BulkRequest, after: Revision = 0) -> Changes:
    """One verdict about all pictures that a rule matches; one undo takes it back."""
    opened = studio.reviews.gate(gate)
    if not opened.state().knows(f"{request.id}-0"):
        images = matching(opened, request.rule)
        if request.expected is not None and len(images) != request.expected:
            raise GateError(
                f"The rule matches {len(images)} pictures now, not {request.expected}.",
                why="somebody decided about some of them meanwhile.",
                remedy="Look at the new number and apply it again.",
            )
        studio.reviews.decide(gate, *_lines(request, images, opened))
    return changes_after(opened, after, None)


@router.get("/gates/{gate}/summary")
def get_summary(studio: TheStudio, gate: GateName, undecided: UndecidedPolicy = "leave_out") -> FinishSummary:
    """What training would get if the gate were approved now."""
    opened = studio.reviews.gate(gate)
    return summarise(opened, studio.library.pool(opened.session.character), undecided)


@router.post("/gates/{gate}/finish")
def finish(studio: TheStudio, gate: GateName, request: FinishRequest) -> Finished:
    """Freezes the decisions and resumes the run that waits for them. If the server is down, nothing is frozen."""
    opened = studio.reviews.gate(gate)
    standing = studio.reviews.closed(gate)
    if standing is None:
        _check_finish(studio, opened, request)
        ended = _end_without_run(studio, opened, request)
        if ended is not None:
            return ended
        standing = studio.reviews.close(
            gate,
            request.verdict,
            request.undecided,
            override_minimum=request.override_minimum,
            reviewer=request.author,
        )
        first = (standing.verdict, standing.reviewer) == (request.verdict, request.author)
    else:
        first = False
    return Finished(closed=standing, first=first, resumed=_resume(studio, opened))


@router.post("/gates/{gate}/resume")
def resume(studio: TheStudio, gate: GateName) -> Finished:
    """Tries again to resume the run of a gate that was answered."""
    opened = studio.reviews.gate(gate)
    closed = studio.reviews.closed(gate)
    if closed is None:
        raise GateError(f"The gate {gate} is not answered yet.", remedy="Finish it first.")
    return Finished(closed=closed, first=False, resumed=_resume(studio, opened))


def gate_summaries(studio: Studio, lines: list[GateLine]) -> list[GateSummary]:
    """Gates in a line each; the open ones with the state of the run that opened each, if the server answers: nobody may wait any more."""
    summaries = [_summary(line) for line in lines]
    opened = {line.session.gate: line.session.flow_run for line in lines if line.closed is None}
    runs = tuple(run for run in opened.values() if run is not None)
    if studio.flows is None or not runs:
        return summaries
    try:
        known = studio.flows.run_statuses(runs)
    except ServerError:
        return summaries
    states = {gate: known.get(run) or deleted_run(run) for gate, run in opened.items() if run is not None}
    return [gate.model_copy(update={"run": states.get(gate.gate)}) for gate in summaries]


def _summary(line: GateLine) -> GateSummary:
    """The pictures are not read for it."""
    session, closed = line.session, line.closed
    if closed is None:
        found = Counts.model_validate({"total": line.total, **line.state.counts(line.total)})
    else:
        total = closed.good + closed.needs_correction + closed.reject + closed.undecided
        found = Counts(
            total=total,
            good=closed.good,
            needs_correction=closed.needs_correction,
            reject=closed.reject,
            conflicts=0,
            undecided=closed.undecided,
        )
    shown = session.model_dump(include={"gate", "kind", "character", "turn", "round", "minimum"})
    return GateSummary.model_validate({**shown, "counts": found, "closed": closed})


def gate_view(studio: Studio, gate: str, *, ask_server: bool) -> GateView:
    """A gate as it stands; the server is asked only if wanted, and may be down."""
    opened = studio.reviews.gate(gate)
    session, closed = opened.session, studio.reviews.closed(gate)
    run, address, server, message = None, None, "none", ""
    if studio.flows is not None and session.flow_run is not None and ask_server:
        try:
            run, server = _run_status(studio, session.flow_run), "up"
            address = studio.flows.run_address(session.flow_run)
        except ServerError as error:
            server, message = "down", error.what
    return GateView.model_validate(
        {
            **session.model_dump(include={"gate", "kind", "character", "turn", "round", "minimum"}),
            "opened_by": session.flow_run,
            "critic": opened.critic_view.said if opened.critic_view is not None else "",
            "set_aside": len(opened.set_aside),
            "note": session.note,
            "person": is_person(studio, session.character),
            "counts": counts(opened, opened.state()).model_dump(),
            "closed": closed,
            "late_answers": () if closed is None else studio.reviews.late_answers(gate),
            "run": run,
            "run_address": address,
            "server": server,
            "server_message": message,
        }
    )


def record_of(opened: OpenedGate, image: str) -> ImageRecord:
    """The record of a gate's picture; raises NotFoundError."""
    if image not in opened.by_digest:
        raise NotFoundError(f"The gate {opened.session.gate} has no picture {short(image)}.")
    return opened.by_digest[image]


def is_person(studio: Studio, character: str) -> bool:
    """True if the character is a person: then zoom opens on the face."""
    return kind_of(studio, character) == "person"


def kind_of(studio: Studio, character: str) -> SubjectKind | None:
    """The kind of a subject; None of one that is not there."""
    try:
        return studio.overview.library_of(character).character(character).kind
    except NotFoundError:
        return None


def columns_json(opened: OpenedGate) -> str:
    """The columns of a gate as JSON; worked out at the first call."""
    if opened.columns_json is None:
        sources = list(dict.fromkeys(record.parents[0] for record in opened.images if record.parents))
        position = {digest: index for index, digest in enumerate(sources)}
        rows = [opened.screenings.get(record.digest) for record in opened.images]
        opened.columns_json = Columns.model_construct(
            digest=tuple(record.digest for record in opened.images),
            source=tuple(position[record.parents[0]] if record.parents else None for record in opened.images),
            sources=tuple(sources),
            cell=tuple(picture_cell(record) for record in opened.images),
            outcome=tuple(None if row is None else row.outcome for row in rows),
            similarity=tuple(None if row is None else row.similarity for row in rows),
            sharpness=tuple(None if row is None else row.sharpness for row in rows),
        ).model_dump_json()
    return opened.columns_json


def _subject(studio: Studio, opened: OpenedGate, image: str) -> SubjectBox:
    picture = decode(studio.thumbnails.webp(image, 160), image).image
    return find_subject(picture, person=is_person(studio, opened.session.character))


def _lines(request: BulkRequest, images: tuple[str, ...], opened: OpenedGate) -> list[Decision]:
    now, state = datetime.now(UTC), opened.state()
    lines = []
    for number, image in enumerate(images):
        before = state.picture(image).decision
        lines.append(
            Decision(
                id=f"{request.id}-{number}",
                at=now,
                author=request.author,
                image=image,
                verdict=request.verdict,
                reasons=request.reasons,
                caption=before.caption if before is not None else None,
                batch=f"batch-{request.id}",
                by_rule=request.rule.images is None,
            )
        )
    return lines


def _check_finish(studio: Studio, opened: OpenedGate, request: FinishRequest) -> None:
    check_answer(
        opened,
        request.verdict,
        request.undecided,
        override_minimum=request.override_minimum,
        remedy="Decide about more pictures, choose redo for another round, or override the minimum.",
    )
    flow_run = opened.session.flow_run
    if flow_run is None or studio.flows is None:
        return
    status = _run_status(studio, flow_run)
    if status.state not in GOES_ON and request.verdict != "stop":
        raise GateError(
            f"The run of this gate has ended: {status.name or status.state}.",
            why="nothing waits for this gate any more.",
            remedy="Retry the run in the Prefect interface, or choose stop to end the turn: what was decided is kept.",
        )


def _end_without_run(studio: Studio, opened: OpenedGate, request: FinishRequest) -> Finished | None:
    """Ends the turn if its run does not go on, so that nobody would hear the answer; None if it does."""
    session = opened.session
    if session.flow_run is None or studio.flows is None or _run_status(studio, session.flow_run).state in GOES_ON:
        return None
    whose = None if session.of_kind.of_editor else session.character
    turn = next((turn for turn in open_turns(studio.store, whose) if turn.flow_run == session.flow_run), None)
    if turn is None:
        return None
    _, said = end_turn(studio.store, whose, turn.number, author=request.author, runs=studio.flows)
    closed = studio.reviews.closed(session.gate)
    assert closed is not None
    return Finished(closed=closed, first=True, resumed=ResumeResult(accepted=True, reason=said))


def _run_status(studio: Studio, flow_run: str) -> RunStatus:
    assert studio.flows is not None
    return studio.flows.run_statuses((flow_run,)).get(flow_run) or deleted_run(flow_run)


def _resume(studio: Studio, opened: OpenedGate) -> ResumeResult:
    closed = studio.reviews.closed(opened.session.gate)
    assert closed is not None
    if opened.session.flow_run is None:
        return ResumeResult(accepted=True, reason="No run waits for this gate; the decisions are kept.")
    if studio.flows is None:
        return ResumeResult(
            accepted=False, reason="This studio runs without a flow server: resume with `flenwheel up`."
        )
    try:
        return studio.flows.resume_gate(opened.session.flow_run, closed)
    except ServerError as error:
        return ResumeResult(accepted=False, reason=error.what)
