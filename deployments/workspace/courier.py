"""Answers of gates that their runs were never told: a server was away, or a studio died, between the answer and the resume."""

from deployments.prefect.api import PAGE, PrefectApi
from deployments.prefect.gates import gate_of, resume_gate
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store
from flenwheel_core.store.recent import RecentStore

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Courier:
    """Brings answers to the runs that wait for them.

    It remembers what arrived: of many gates that wait, none is looked at, and of those that were answered only what is new.
    """

    def __init__(self, store: Store) -> None:
        self._reviews = Reviews(store if store.files.local is not None else RecentStore(store))
        self._arrived: set[tuple[str, str]] = set()

    def hand_over(self, api: PrefectApi) -> list[str]:
        """Resumes those runs; a line for each. Raises ServerError if the server does not answer."""
        done = []
        waiting = self._answered()
        runs = tuple(dict.fromkeys(waiting.values()))
        pages = [runs[start : start + PAGE] for start in range(0, len(runs), PAGE)]
        known = {run.id: run for page in pages for run in api.runs(ids=page)}
        for gate, run_id in waiting.items():
            run = known.get(run_id)
            at = None if run is None else gate_of(run)
            if run is None or run.state is None or at not in (None, gate) or run.state.type in FINAL:
                self._arrived.add((gate, run_id))  # it has passed this gate, or comes to none any more
            elif at == gate:
                closed = self._reviews.closed(gate)
                assert closed is not None
                result = resume_gate(api, run_id, closed)
                done.append(f"{gate}: its answer reached the run" if result.accepted else f"{gate}: {result.reason}")
        return done

    def _answered(self) -> dict[str, str]:
        """Gates that were answered and whose run may not know it, each with its run."""
        found = {}
        for gate in self._reviews.gates():
            closed = self._reviews.closed(gate)
            run = None if closed is None else self._reviews.get(gate).flow_run
            if run is not None and (gate, run) not in self._arrived:
                found[gate] = run
        return found
