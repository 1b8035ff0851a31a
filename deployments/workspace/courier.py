"""Answers of gates that their runs were never told: a server was away, or a studio died, between the answer and the resume."""

from deployments.prefect.api import PAGE, FlowRun, PrefectApi
from deployments.prefect.gates import gate_of, resume_gate
from flenwheel_core.base.errors import FlenwheelError, StoreError
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.store import Store
from flenwheel_core.store.recent import AT_ONCE, RecentStore

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Courier:
    """Brings answers to the runs that wait for them.

    It remembers what arrived: of many gates that wait, none is looked at, and of those that were answered only what is new. What is damaged
    of one gate is said once, and keeps no other gate's answer back.
    """

    def __init__(self, store: Store) -> None:
        self._listed = store if store.files.local is not None else RecentStore(store)
        self._store = store
        self._reviews = Reviews(store)
        self._arrived: set[str] = set()
        """Gates of which nothing is left to do: neither who opened one nor its answer ever changes."""
        self._waiting: dict[str, str] = {}
        """Gates whose answer may not have arrived, each with its run."""
        self._said: dict[str, str] = {}
        """What could not be done about a gate, so that it is not said at every look."""

    def hand_over(self, api: PrefectApi) -> list[str]:
        """Resumes those runs; a line for each. Raises ServerError if the Prefect server or the object store does not answer."""
        done = self._learn()
        runs = tuple(dict.fromkeys(self._waiting.values()))
        pages = [runs[start : start + PAGE] for start in range(0, len(runs), PAGE)]
        known = {run.id: run for page in pages for run in api.runs(ids=page)}
        for gate, run_id in list(self._waiting.items()):
            try:
                done += self._brought(api, gate, known.get(run_id))
                self._said.pop(gate, None)
            except FlenwheelError as error:
                done += self._once(gate, error)
        return done

    def _brought(self, api: PrefectApi, gate: str, run: FlowRun | None) -> list[str]:
        """Hands an answer over if its run waits for it; what came of it."""
        at = None if run is None else gate_of(run)
        if run is None or run.state is None or at not in (None, gate) or run.state.type in FINAL:
            self._arrived.add(gate)  # it has passed this gate, or comes to none any more
            del self._waiting[gate]
            return []
        if at != gate:
            return []
        closed = self._reviews.closed(gate)
        if closed is None:  # it was taken away since
            return []
        result = resume_gate(api, run.id, closed)
        return [f"{gate}: its answer reached the run" if result.accepted else f"{gate}: {result.reason}"]

    def _learn(self) -> list[str]:
        """Reads who waits for the answers that are new, many at once; lines about what cannot be read."""
        names = set(self._listed.list_documents("reviews"))
        answered = sorted(name.split("/")[1] for name in names if name.endswith("/outcome"))
        new = [
            gate
            for gate in answered
            if gate not in self._arrived and gate not in self._waiting and f"reviews/{gate}/session" in names
        ]
        done: list[str] = []
        at_once = AT_ONCE if self._store.files.local is None else 1
        for start in range(0, len(new), at_once):
            some = new[start : start + at_once]
            try:
                found = self._store.files.read_many([f"documents/reviews/{gate}/session.json" for gate in some])
            except FileNotFoundError:  # one was deleted since: the next look sees the others
                continue
            except StoreError as error:
                done += self._once(some[0], error)
                continue
            for gate, data in zip(some, found, strict=True):
                done += self._noted(gate, data)
        return done

    def _noted(self, gate: str, data: bytes) -> list[str]:
        try:
            run = ReviewSession.from_bytes(data, where=f"The session of the gate {gate}").flow_run
        except StoreError as error:
            return self._once(gate, error)
        if run is None:
            self._arrived.add(gate)  # no run opened it
        else:
            self._waiting[gate] = run
        return []

    def _once(self, gate: str, error: FlenwheelError) -> list[str]:
        if self._said.get(gate) == error.message:
            return []
        self._said[gate] = error.message
        return [f"{gate}: its answer was not handed over. {error.message}"]
