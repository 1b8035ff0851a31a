"""Review sessions: the pictures of a gate, the journal of decisions about them, and how the gate closes.

Nothing here knows of HTTP or Prefect. The present state is a fold over the journal, so undo works after a restart, and other processes
may append at the same time. On an object store, which has no locks, a decision in the very moment of closing may come too late.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import CorruptManifestError, GateError, InputError, NotFoundError, SealedJournalError
from flenwheel_core.base.ids import Digest, Slug, short
from flenwheel_core.base.locks import locked
from flenwheel_core.documents.critics import CriticView
from flenwheel_core.documents.decisions import (
    ClosedGate,
    Decision,
    DecisionSet,
    GateVerdict,
    LateAnswer,
    UndecidedPolicy,
    Verdict,
)
from flenwheel_core.documents.images import ImageRecord, is_empty, is_unset
from flenwheel_core.documents.scores import Screening
from flenwheel_core.gates.fold import GateState
from flenwheel_core.gates.kinds import KINDS, GateKind, KindOfGate
from flenwheel_core.gates.settle import check_decision, enough, settle, usable_pictures
from flenwheel_core.store import Journal, Store

KEPT_GATES = 12
"""Gates whose picture lists stay in memory; the least recently used one goes first."""


class ReviewSession(Document):
    """The pictures of one gate. Written once, when the gate opens."""

    gate: Slug = Field(description="<character>-t<turn>-<gate>-r<round>, such as mira-t1-gate-a-r1")
    kind: GateKind
    character: str
    turn: int
    round: int
    images: Digest = Field(description="image set of the candidates")
    screenings: Digest | None = Field(default=None, description="screening table of the same images")
    references: Digest | None = Field(default=None, description="image set of the real sources")
    minimum: int = Field(description="good pictures the gate asks for")
    pictures: int | None = Field(default=None, exclude_if=is_unset, description="how many candidates there are")
    flow_run: str | None = Field(default=None, description="the suspended flow run that waits for it")
    critic: Digest | None = Field(
        default=None, exclude_if=is_unset, description="blob: the CriticView, what the critic says of the candidates"
    )
    evidence: Digest | None = Field(
        default=None,
        exclude_if=is_unset,
        description="blob: the GateEvidence, how the LoRA was chosen and which pictures of the pool are doubtful",
    )
    note: str = Field(default="", exclude_if=is_empty, description="what a person should know before they answer")

    @property
    def of_kind(self) -> KindOfGate:
        """What is particular to gates of its kind."""
        return KINDS[self.kind]


def critic_view(store: Store, digest: Digest) -> CriticView:
    """The view of that digest."""
    return CriticView.from_bytes(store.get_blob(digest), where=f"the critic's view {short(digest)}")


def set_aside_by(view: CriticView | None) -> dict[Digest, str]:
    """The pictures that a critic rejects unless a person decides otherwise, each with the name it signs with."""
    if view is None or view.guard is None:
        return {}
    return {row.image: f"critic {short(view.guard)}" for row in view.pictures if row.set_aside}


class OpenedGate:
    """A gate with its pictures in memory and its journal folded as far as it was read."""

    def __init__(self, session: ReviewSession, store: Store, earlier: tuple[ImageRecord, ...] = ()) -> None:
        self.session = session
        self.earlier = earlier
        """What earlier rounds of the gate left to train on. It waits for the approval, as what this round leaves does."""
        self.images = store.get_images(session.images)
        rows = () if session.screenings is None else store.get_screenings(session.screenings)
        self.screenings = {row.image: row for row in rows}
        self.by_digest = {record.digest: record for record in self.images}
        self.critic_view = None if session.critic is None else critic_view(store, session.critic)
        """What the critic says of the pictures; None where none was asked."""
        self.set_aside = set_aside_by(self.critic_view)
        self.columns_json: str | None = None
        """The columns that clients sort and filter by, once somebody asked for them."""
        self.lock = threading.RLock()
        self.journal = store.journal(f"reviews/{session.gate}/decisions", Decision)
        self._state = GateState()
        self._position = 0

    def state(self) -> GateState:
        """The state as of now: lines that other processes appended are read first."""
        with self.lock:
            try:
                lines, position = self.journal.read_after(self._position)
            except CorruptManifestError:
                if self._position == 0:
                    raise
                self._state, self._position = GateState(), 0
                lines, position = self.journal.read_after(0)
            for line in lines:
                self._state.add(line)
            self._position = position
            return self._state

    def known(self) -> GateState:
        """The state as far as it was read: with what this process wrote, and what others had written before it."""
        return self._state

    def write(self, lines: list[Decision]) -> None:
        """Appends decisions, and takes them into the state; an object store is not asked for what was just written there."""
        with self.lock:
            self.journal.extend(lines)
            if lines and self.journal.written == self._position + 1:
                for line in lines:
                    self._state.add(line)
                self._position += 1
            else:
                self.state()

    def freeze(self) -> GateState:
        """The state that stays: from now on no machine's decision is taken."""
        with self.lock:
            while True:
                state = self.state()
                if self.journal.seal(self._position):
                    return state


class Reviews:
    """All review sessions of a store. Safe to use from several threads, beside other processes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._opened: OrderedDict[str, OpenedGate] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, session: ReviewSession) -> ReviewSession:
        """Opens a gate; opening the same gate again changes nothing and returns what is there.

        Raises GateError for a gate that another run opened: its decisions and its answer are that run's.
        """
        if self.find(session.gate) is None:
            counted = session.model_copy(update={"pictures": len(self.store.get_images(session.images))})
            self.store.put_document(f"reviews/{session.gate}/session", counted)
        standing = self.get(session.gate)
        if standing.flow_run != session.flow_run:
            raise GateError(
                f"The gate {session.gate} belongs to another run.",
                why=f"it was opened by {standing.flow_run or 'no run'}; an answer belongs to one run.",
                remedy="Start another turn.",
            )
        return standing

    def get(self, gate: str) -> ReviewSession:
        """The session of a gate; raises NotFoundError."""
        found = self.find(gate)
        if found is None:
            raise NotFoundError(f"There is no gate {gate!r}.", remedy="`flenwheel status` lists the open gates.")
        return found

    def find(self, gate: str) -> ReviewSession | None:
        """The session of a gate; None if it was never opened."""
        return self.store.get_document(f"reviews/{gate}/session", ReviewSession) if gate else None

    def gates(self) -> list[str]:
        """Names of all gates, open and closed."""
        names = self.store.list_documents("reviews")
        return sorted(name.split("/")[1] for name in names if name.endswith("/session"))

    def gate(self, gate: str) -> OpenedGate:
        """The gate with its pictures; a gate's picture list never changes, so it is read once."""
        with self._lock:
            if gate in self._opened:
                self._opened.move_to_end(gate)
                return self._opened[gate]
        session = self.get(gate)
        opened = OpenedGate(session, self.store, self._earlier(session))
        with self._lock:
            opened = self._opened.setdefault(gate, opened)
            while len(self._opened) > KEPT_GATES:
                self._opened.popitem(last=False)
            return opened

    def _earlier(self, session: ReviewSession) -> tuple[ImageRecord, ...]:
        """The usable pictures of the rounds before; they are closed, so they do not change."""
        found = []
        for round_ in range(1, session.round):
            gate = f"{session.gate.removesuffix(f'-r{session.round}')}-r{round_}"
            closed = self.closed(gate)
            if closed is not None:
                records = {record.digest: record for record in self.store.get_images(self.get(gate).images)}
                decisions = self.decisions(closed).decisions
                found += [picture for _, picture in usable_pictures(decisions, records, self.corrections(gate), gate)]
        return tuple(found)

    def warm(self, gates: Sequence[str]) -> None:
        """Reads the pictures of gates ahead, so that their first page is quick."""
        for gate in gates[:KEPT_GATES]:
            self.gate(gate).state()

    def images(self, session: ReviewSession) -> tuple[ImageRecord, ...]:
        return self.gate(session.gate).images

    def screenings(self, session: ReviewSession) -> dict[Digest, Screening]:
        return self.gate(session.gate).screenings

    def journal(self, gate: str) -> Journal[Decision]:
        return self.store.journal(f"reviews/{gate}/decisions", Decision)

    def keep_correction(self, gate: str, correction: ImageRecord) -> None:
        """Records an uploaded correction, so that a decision may name it and its lineage is known."""
        if correction.digest not in self.corrections(gate):
            self.store.journal(f"reviews/{gate}/corrections", ImageRecord).append(correction)

    def corrections(self, gate: str) -> dict[Digest, ImageRecord]:
        """The corrected pictures that were uploaded at a gate."""
        journal = self.store.journal(f"reviews/{gate}/corrections", ImageRecord)
        return {record.digest: record for record in journal.read()}

    def decide(self, gate: str, *decisions: Decision) -> OpenedGate:
        """Appends decisions in one go; they are on disk when this returns, and known to the gate that it returns.

        A repeated id is the same request and changes nothing.

        Raises GateError for a closed gate, and InputError for a picture of another gate or a decision that this gate cannot follow.
        """
        opened = self.gate(gate)
        for decision in decisions:
            if decision.image not in opened.by_digest:
                raise InputError(f"The picture {short(decision.image)} does not belong to the gate {gate}.")
            check_decision(decision, opened.session.of_kind)
        with opened.lock, self._alone(gate):
            self._refuse_closed(gate)
            state = opened.state()
            fresh = [decision for decision in decisions if not state.knows(decision.id)]
            self._write(opened, fresh)
            return opened

    def undo(self, gate: str, author: str, id_: str) -> Decision | None:
        """Takes back the author's last decision, or last bulk decision, and returns it; None if nothing is left to take back."""
        opened = self.gate(gate)
        with opened.lock, self._alone(gate):
            self._refuse_closed(gate)
            state = opened.state()
            last = state.last_action(author)
            if last is None or state.knows(id_):
                return None
            line = Decision(
                id=id_,
                at=datetime.now(UTC),
                author=author,
                image=last.image,
                verdict=None,
                undo_of=last.batch or last.id,
            )
            self._write(opened, [line])
            return last

    def current(self, gate: str) -> dict[Digest, Decision]:
        """The standing decision about each decided picture."""
        return self.gate(gate).state().standing()

    def said(self, gate: str) -> dict[Digest, Decision]:
        """What stands about each picture that anybody said something of: also a caption without a verdict."""
        states = self.gate(gate).state().touched()
        return {image: state.decision for image, state in states.items() if state.decision is not None}

    def close(
        self, gate: str, verdict: GateVerdict, undecided: UndecidedPolicy, *, override_minimum: bool, reviewer: str
    ) -> ClosedGate:
        """Freezes the decisions. The first answer stands: closing again returns it unchanged."""
        closed = self.closed(gate)
        if closed is not None:
            return closed
        opened = self.gate(gate)
        with opened.lock, self._alone(gate):
            final = settle(
                opened.images, opened.screenings, opened.freeze(), undecided, reviewer, set_aside=opened.set_aside
            )
            decisions = DecisionSet(gate=gate, decisions=final)
            counts = {kind: sum(decision.verdict is kind for decision in final) for kind in Verdict}
            outcome = ClosedGate(
                gate=gate,
                verdict=verdict,
                decisions=self.store.put_blob(decisions.to_bytes()),
                good=counts[Verdict.GOOD],
                needs_correction=counts[Verdict.NEEDS_CORRECTION],
                reject=counts[Verdict.REJECT],
                undecided=len(opened.images) - len(final),
                enough=enough(final, opened.session.minimum) or override_minimum,
                reviewer=reviewer,
            )
            self.store.put_document(f"reviews/{gate}/outcome", outcome)
        standing = self.closed(gate)
        assert standing is not None
        return standing

    def closed(self, gate: str) -> ClosedGate | None:
        """How the gate was closed, or None while it is open."""
        return self.store.get_document(f"reviews/{gate}/outcome", ClosedGate)

    def note_late_answer(self, gate: str, verdict: GateVerdict, reviewer: str) -> bool:
        """Keeps an answer that came second, so that people see that it did not count; False if it says what stands, or was kept."""
        closed = self.closed(gate)
        known = {(answer.verdict, answer.reviewer) for answer in self.late_answers(gate)}
        if closed is None or closed.verdict == verdict or (verdict, reviewer) in known:
            return False
        line = LateAnswer(at=datetime.now(UTC), verdict=verdict, reviewer=reviewer)
        self.store.journal(f"reviews/{gate}/late", LateAnswer).append(line)
        return True

    def late_answers(self, gate: str) -> tuple[LateAnswer, ...]:
        """Answers that came second and did not count."""
        return tuple(self.store.journal(f"reviews/{gate}/late", LateAnswer).read())

    def decisions(self, closed: ClosedGate) -> DecisionSet:
        """The frozen decisions of a closed gate."""
        return DecisionSet.from_bytes(self.store.get_blob(closed.decisions), where=f"The decisions of {closed.gate}")

    def _write(self, opened: OpenedGate, lines: list[Decision]) -> None:
        """Raises GateError if another machine closes the gate at this moment."""
        gate = opened.session.gate
        try:
            opened.write(lines)
        except SealedJournalError as error:
            self._refuse_closed(gate)
            raise GateError(
                f"The gate {gate} is being closed.", why=error.why, remedy="Look at it again in a moment."
            ) from error

    def _refuse_closed(self, gate: str) -> None:
        closed = self.closed(gate)
        if closed is not None:
            raise GateError(
                f"The gate {gate} is closed.",
                why=f"{closed.reviewer or 'somebody'} answered it with {closed.verdict}.",
                remedy="Decisions can be changed in another round or another turn.",
            )

    @contextmanager
    def _alone(self, gate: str) -> Iterator[None]:
        """One writer or closer of a gate at a time, across processes: no decision slips in while its gate is being frozen.

        On an object store the journal's conditional writes and its seal do that.
        """
        local = self.store.files.local
        if local is None:
            yield
            return
        name = f"journals/reviews/{gate}/lock"
        with ExitStack() as held:
            try:
                held.enter_context(locked(local / name))
            except OSError as error:
                raise self.store.files.failed("write", name, error) from error
            yield
