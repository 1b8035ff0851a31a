"""How turns went and go: their steps, gates, times, memory and loss, read from what the stages left behind."""

import json
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from pydantic import AwareDatetime

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import FlenwheelError, NotFoundError
from flenwheel_core.base.ids import Digest
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.documents.loras import LossPoint
from flenwheel_core.documents.scores import Comparison
from flenwheel_core.gates.session import Reviews
from flenwheel_core.library.characters import Library, TurnEnded
from flenwheel_core.library.turn_numbers import TurnOpened
from flenwheel_core.requests.base import StageRequest
from flenwheel_core.requests.benchmark import BenchmarkResult
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.runner.stage import STAGES, find_stage
from flenwheel_core.runner.stage_runs import StageRun, stage_runs
from flenwheel_core.store import Store

Built = TypeVar("Built")
StepState = Literal["asked", "running", "stopped", "failed", "done"]


class StepView(Document):
    """One step of a turn."""

    name: str
    stage: str
    request: Digest
    state: StepState
    summary: str = ""
    error: str | None = None
    started: AwareDatetime | None = None
    seconds: float | None = None
    peak_vram_gib: float | None = None
    peak_ram_gib: float | None = None
    slot: str | None = None


class LossCurve(Document):
    """The training loss of one step."""

    step: str
    points: tuple[LossPoint, ...]
    finished: bool


class GateOfTurn(Document):
    """A gate of a turn and how it was answered."""

    gate: str
    closed: ClosedGate | None


class TurnView(Document):
    """One turn of a character."""

    character: str
    number: int
    flow_run: str
    opened: AwareDatetime
    outcome: str | None
    ended: AwareDatetime | None
    gates: tuple[GateOfTurn, ...]


class TurnDetail(TurnView):
    """One turn with its steps and curves."""

    steps: tuple[StepView, ...]
    losses: tuple[LossCurve, ...]
    comparison: Comparison | None
    report: str | None


class Keep(Protocol):
    """Gives what was built for a key before, or builds it anew if anything in these folders of the store has changed since."""

    def __call__(self, key: Hashable, folders: tuple[str, ...], build: "Callable[[], Built]") -> "Built": ...


class Turns:
    """Reads the turns of a workspace."""

    def __init__(self, store: Store, settings: Settings, reviews: Reviews, keep: "Keep | None" = None) -> None:
        self._store = store
        self._library = Library(store)
        self._settings = settings
        self._reviews = reviews
        self._keep = keep
        self._turn_of_gate: dict[str, tuple[str, int] | None] = {}
        """What never changes of a gate once it is open; None for one that belongs to no turn of a character."""
        self._runs: dict[str, list[StageRun]] = {}
        self._position = 0

    def all(self, character: str | None = None) -> list[TurnView]:
        """Turns of one or all characters, the newest first."""
        return self.newest(character)[0]

    def newest(
        self, character: str | None = None, *, offset: int = 0, limit: int | None = None
    ) -> tuple[list[TurnView], int]:
        """Some of these turns, and how many there are: of all others nothing but their beginning is read."""
        turns = self._begun(character)
        shown = turns[offset:] if limit is None else turns[offset : offset + limit]
        gates = self._gates_of_turns(character)
        ended = {
            name: {line.number: line for line in self._library.ended_turns(name)}
            for name in {name for _, name in shown}
        }
        views = [
            self._view(name, turn, ended[name].get(turn.number), gates.get((name, turn.number), []))
            for turn, name in shown
        ]
        return views, len(turns)

    def _begun(self, character: str | None) -> list[tuple[TurnOpened, str]]:
        """Turns of one or all characters, the newest first, each with its character."""
        if character is None and self._keep is not None:
            return self._keep(
                "begun turns", ("documents/characters", "journals/characters"), lambda: self._read_begun(None)
            )
        return self._read_begun(character)

    def _read_begun(self, character: str | None) -> list[tuple[TurnOpened, str]]:
        names = [character] if character is not None else self._library.characters()
        turns = [(turn, name) for name in names for turn in self._library.turns(name)]
        return sorted(turns, key=lambda one: one[0].at, reverse=True)

    def _gates_of_turns(self, character: str | None) -> dict[tuple[str, int], list[str]]:
        """The gates by character and turn: of all characters where that is remembered, which spares looking at every gate's name."""
        if self._keep is not None:
            return self._keep("gates of turns", ("documents/reviews",), lambda: self._read_gates(None))
        return self._read_gates(character)

    def _read_gates(self, character: str | None) -> dict[tuple[str, int], list[str]]:
        """Gate C shows characters, too, but its turn is the editor's, and names it."""
        found: dict[tuple[str, int], list[str]] = {}
        begin = "" if character is None else f"{character}-"
        for name in (name for name in self._reviews.gates() if name.startswith(begin)):
            if name not in self._turn_of_gate:
                gate = self._reviews.get(name)
                self._turn_of_gate[name] = (gate.character, gate.turn) if gate.of_kind.judges_new else None
            turn = self._turn_of_gate[name]
            if turn is not None:
                found.setdefault(turn, []).append(name)
        return found

    def get(self, character: str, number: int) -> TurnDetail:
        """One turn; raises NotFoundError."""
        view = next((turn for turn in self.all(character) if turn.number == number), None)
        if view is None:
            raise NotFoundError(f"{character} has no turn {number}.")
        requests = self._requests(character, number)
        steps = tuple(self._step(name, request) for name, request in requests)
        ended = next((line for line in self._library.ended_turns(character) if line.number == number), None)
        report = None
        if ended is not None and ended.report is not None:
            report = self._store.get_blob(ended.report).decode("utf-8", "replace")
        return TurnDetail(
            **dict(view),
            steps=tuple(sorted(steps, key=_by_time)),
            losses=tuple(self._curve(name, request) for name, request in requests if request.stage == "train"),
            comparison=self._comparison(requests),
            report=report,
        )

    def _view(self, name: str, turn: TurnOpened, ended: TurnEnded | None, gates: list[str]) -> TurnView:
        return TurnView(
            character=name,
            number=turn.number,
            flow_run=turn.flow_run,
            opened=turn.at,
            outcome=None if ended is None else ended.outcome,
            ended=None if ended is None else ended.at,
            gates=tuple(GateOfTurn(gate=gate, closed=self._reviews.closed(gate)) for gate in gates),
        )

    def _requests(self, character: str, number: int) -> list[tuple[str, StageRequest]]:
        """What the turn asked of each stage; other documents of the turn are passed over."""
        found = []
        for path in self._store.list_documents(f"turns/{character}/{number:04d}"):
            name = path.rsplit("/", 1)[-1]
            kind = next(
                (STAGES[stage].request for stage in STAGES if name == stage or name.startswith(f"{stage}-")), None
            )
            if kind is None:
                continue
            try:
                request = self._store.get_document(path, kind)
            except FlenwheelError:
                continue
            nothing = isinstance(request, EnrichRequest | GenerateRequest) and not request.items
            if request is not None and not nothing:  # nothing was to be edited: the gate was passed by
                found.append((name, request))
        return found

    def _step(self, name: str, request: StageRequest) -> StepView:
        stage = find_stage(request.stage)
        result = self._store.get_result(request, stage.result)
        runs = self._runs_of(request.key())
        started = next((run for run in reversed(runs) if run.event == "started"), None)
        ended = next((run for run in reversed(runs) if run.event != "started"), None)
        if ended is not None and started is not None and ended.at < started.at:
            ended = None
        state: StepState = "asked"
        if result is not None:
            state = "done"
        elif ended is not None:
            state = "stopped" if (ended.error or "").startswith("InterruptedStage") else "failed"
        elif started is not None:
            state = "running"
        return StepView(
            name=name,
            stage=request.stage,
            request=request.key(),
            state=state,
            summary="" if result is None else result.summary(),
            error=None if ended is None or state == "done" else ended.error,
            started=None if started is None else started.at,
            seconds=None if ended is None else ended.seconds,
            peak_vram_gib=None if ended is None else ended.peak_vram_gib,
            peak_ram_gib=None if ended is None else ended.peak_ram_gib,
            slot=None if started is None else started.slot,
        )

    def _runs_of(self, request: str) -> list[StageRun]:
        lines, self._position = stage_runs(self._store).read_after(self._position)
        for line in lines:
            self._runs.setdefault(line.request, []).append(line)
        return self._runs.get(request, [])

    def _curve(self, name: str, request: StageRequest) -> LossCurve:
        result = self._store.get_result(request, TrainResult)
        if result is not None:
            return LossCurve(step=name, points=result.losses, finished=True)
        path = self._settings.scratch / "train" / request.key() / "loss.jsonl"
        try:
            lines = path.read_text().splitlines()
        except OSError:
            lines = []
        points = [point for line in lines if (point := _loss_point(line)) is not None]
        return LossCurve(step=name, points=tuple(points), finished=False)

    def _comparison(self, requests: list[tuple[str, StageRequest]]) -> Comparison | None:
        for _, request in requests:
            if request.stage == "benchmark":
                result = self._store.get_result(request, BenchmarkResult)
                if result is not None and result.comparison is not None:
                    return result.comparison
        return None


def _loss_point(line: str) -> LossPoint | None:
    """A point of a file that is being written: its last line may be torn."""
    try:
        value = json.loads(line)
        return LossPoint(step=value["step"], loss=value["loss"])
    except (ValueError, KeyError, TypeError):
        return None


def _by_time(step: StepView) -> tuple[bool, float, str]:
    started: datetime | None = step.started
    return (started is None, 0.0 if started is None else started.timestamp(), step.name)
