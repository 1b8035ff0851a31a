"""Prefect as the studio sees it."""

from collections.abc import Sequence
from typing import cast

from deployments.prefect.api import PAGE, PrefectApi, open_api
from deployments.prefect.gates import resume_gate
from deployments.prefect.orders import hand_over
from flenwheel_core.base.errors import ServerError
from flenwheel_core.base.ids import Json
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.services import load_services
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.flow_server import Flywheel, ResumeResult, RunStatus
from flenwheel_core.library.orders import Orders
from flenwheel_core.store import Store

DEPLOYMENTS: dict[Flywheel, str] = {"character": "flywheel-1/turn", "editor": "flywheel-2/turn"}
COMPARISON = "compare-bases/comparison"
PREVIEW = "inject/preview"
PATIENCE_SECONDS = 3.0


class PrefectFlowServer:
    """The studio's connection to the server of its workspace; finds the server anew at each call, for it may have moved."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def resume_gate(self, flow_run_id: str, outcome: ClosedGate) -> ResumeResult:
        """Hands a gate's outcome to its run."""
        return resume_gate(self._api(), flow_run_id, outcome)

    def run_statuses(self, flow_run_ids: tuple[str, ...]) -> dict[str, RunStatus]:
        """How runs stand, with the progress of the stage they are in."""
        if not flow_run_ids:
            return {}
        api = self._api()
        found = {}
        # The server gives no more than a page at once; what is missing from an answer counts as deleted.
        pages = [flow_run_ids[start : start + PAGE] for start in range(0, len(flow_run_ids), PAGE)]
        for run in (run for page in pages for run in api.runs(ids=page)):
            if run.state is None:
                continue
            found[run.id] = RunStatus(
                flow_run=run.id,
                state=run.state.type,
                name=run.state.name,
                message=run.state.message or "",
                starts=run.run_count,
                progress=_progress(api, run.id) if run.state.type == "RUNNING" else (),
            )
        return found

    def cancel_run(self, flow_run_id: str) -> None:
        """Cancels a run; its worker ends its process."""
        self._api().cancel(flow_run_id)

    def start_turn(
        self, flywheel: Flywheel, character: str, recipe: str | None, *, beside_open_turn: bool = False
    ) -> RunStatus:
        """Schedules a turn and returns its run."""
        parameters: dict[str, Json] = {
            "character": character,
            "recipe": recipe,
            "beside_open_turn": beside_open_turn,
        }
        return self._start(DEPLOYMENTS[flywheel], parameters)

    def start_comparison(self, character: str, recipes: Sequence[str], card: str | None, seed: int) -> RunStatus:
        """Schedules a comparison of bases and returns its run."""
        parameters: dict[str, Json] = {"character": character, "recipes": list(recipes), "card": card, "seed": seed}
        return self._start(COMPARISON, parameters)

    def start_preview(
        self, character: str, alphas: Sequence[float], seeds: Sequence[int], *, train: bool, epochs: float
    ) -> RunStatus:
        """Schedules the preview of a character and returns its run."""
        parameters: dict[str, Json] = {
            "character": character,
            "train": train,
            "epochs": epochs,
            "alphas": list(alphas),
            "seeds": list(seeds),
        }
        return self._start(PREVIEW, parameters)

    def _start(self, deployment: str, parameters: dict[str, Json]) -> RunStatus:
        run = self._api().start(deployment, parameters)
        return RunStatus(flow_run=run.id, state="SCHEDULED", name="Scheduled")

    def start_order(self, order: str) -> str:
        """Hands an order over; again is no harm."""
        store = Store(self._settings.store_url, self._settings.store_options)
        return hand_over(self._api(), Orders(store), order)

    def run_address(self, flow_run_id: str) -> str | None:
        """The run's page in the Prefect interface."""
        services = load_services(self._settings)
        return services.run_address(flow_run_id) if services is not None else None

    def _api(self) -> PrefectApi:
        return open_api(self._settings, patience_seconds=PATIENCE_SECONDS)


def _progress(api: PrefectApi, flow_run_id: str) -> tuple[ProgressEvent, ...]:
    """The latest progress artifact of a run."""
    body: dict[str, Json] = {
        "artifacts": {"flow_run_id": {"any_": [flow_run_id]}, "type": {"any_": ["progress"]}},
        "sort": "UPDATED_DESC",
        "limit": 1,
    }
    try:
        found = cast("list[dict[str, Json]]", api.call("POST", "/artifacts/filter", body))
    except ServerError:
        return ()
    return tuple(
        ProgressEvent(
            stage=str(item["key"]).rpartition("-")[0],
            kind="step",
            done=round(float(cast(float, item["data"] or 0))),
            total=100,
            unit="%",
            text=str(item["description"] or ""),
        )
        for item in found
    )
