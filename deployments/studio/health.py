"""Whether the studio serves: for probes of platforms and load balancers. It needs no token and says nothing of what is here."""

from typing import Literal

from fastapi import APIRouter

from deployments.studio.studio import TheStudio
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import FlenwheelError, ServerError

router = APIRouter(tags=["health"])
PROBE = "documents/health.json"


class Health(Document):
    """The studio serves, and its store answers."""

    status: Literal["ok"] = "ok"


@router.get("/healthz", responses={503: {"description": "the store does not answer"}})
def healthz(studio: TheStudio) -> Health:
    """200 while the studio serves and its store can be read; the Prefect server is asked nothing, since decisions are kept without it."""
    try:
        studio.store.files.exists(PROBE)
    except (FlenwheelError, OSError):
        raise ServerError("The store does not answer.") from None
    return Health()
