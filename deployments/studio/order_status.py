"""How an order of the training service stands, from its records and its run."""

from deployments.studio.order_models import OrderView, State
from deployments.studio.studio import Studio
from flenwheel_core.base.errors import ServerError
from flenwheel_core.documents.orders import OrderAccepted, OrderEnded
from flenwheel_core.gates.flow_server import RunStatus
from flenwheel_core.library.orders import MOST_STARTS, Orders
from flenwheel_core.publishing.object_store import expiring_link

LINK_SECONDS = 3600
_STATES: dict[str, State] = {
    "SCHEDULED": "queued",
    "PENDING": "queued",
    "RUNNING": "running",
    "PAUSED": "waiting_for_review",
    "CANCELLING": "cancelled",
    "CANCELLED": "cancelled",
    "FAILED": "failed",
    "COMPLETED": "failed",  # without a LoRA: it says why
    "CRASHED": "queued",  # it begins again by itself, up to MOST_STARTS times
}


def location_of(id_: str) -> str:
    """Where to ask for an order."""
    return f"/api/v1/train-lora/{id_}"


def order_view(studio: Studio, id_: str) -> OrderView:
    """How it stands; raises NotFoundError. Without an answer from the Prefect server it is what the records say."""
    orders = Orders(studio.store)
    accepted, ended = orders.get(id_), orders.ended(id_)
    if ended is not None:
        return _ended(studio, accepted, ended)
    handed = orders.handed(id_)
    plain = OrderView(id=id_, state="queued", location=location_of(id_), user_id=accepted.order.user_id)
    if handed is None or studio.flows is None:
        return plain
    try:
        run = studio.flows.run_statuses((handed.flow_run,)).get(handed.flow_run)
    except ServerError as error:
        state = "failed" if orders.failed(id_) is not None else plain.state
        return plain.model_copy(update={"state": state, "message": error.what})
    if run is None:
        lost = {"state": "failed", "message": "Prefect does not know the order's run any more."}
        return plain.model_copy(update=lost)
    address = studio.flows.run_address(handed.flow_run)
    ended = orders.ended(id_)  # it may have ended since
    if ended is not None:
        return _ended(studio, accepted, ended)
    return plain.model_copy(update={"run_address": address, **_of_run(run)})


def _of_run(run: RunStatus) -> dict[str, object]:
    given_up = run.state == "CRASHED" and run.starts >= MOST_STARTS
    found: dict[str, object] = {"state": "failed" if given_up else _STATES.get(run.state, "running")}
    if found["state"] in ("failed", "waiting_for_review"):
        found["message"] = run.message
    if run.progress:
        latest = run.progress[-1]
        found |= {"stage": latest.stage, "percent": latest.done, "message": latest.text}
    return found


def _ended(studio: Studio, accepted: OrderAccepted, ended: OrderEnded) -> OrderView:
    id_ = accepted.order.id
    lora = ended.model
    return OrderView(
        id=id_,
        state=ended.state,
        location=location_of(id_),
        user_id=accepted.order.user_id,
        model_url=ended.model_url or None,
        sha256=lora.digest if lora is not None else ended.lora,
        size_bytes=lora.size_bytes if lora is not None else None,
        link=_link(studio, lora.address) if lora is not None else None,
        files=ended.files,
    )


def _link(studio: Studio, address: str) -> str | None:
    return expiring_link(address, studio.settings.publishing_options, LINK_SECONDS) if "://" in address else None
