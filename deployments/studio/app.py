"""The studio as a web app: the JSON API under /api/v1 and the pages that use it."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import APIRouter, FastAPI

from deployments.access.door import check_binding
from deployments.studio import (
    critic_api,
    evidence_api,
    folder_api,
    framing_api,
    gate_api,
    health,
    library_api,
    order_api,
    pages,
    picture_api,
    record_api,
    style_api,
    style_pages,
)
from deployments.studio.mounted import Mounted
from deployments.studio.problems import Problem, add_problem_handlers
from deployments.studio.security import Guard, csrf_token
from deployments.studio.static_files import static_router
from deployments.studio.studio import Studio, TheStudio, open_studio
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import FlenwheelError, UserError
from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.flow_server import FlowServer

AHEAD = 4
"""Open gates whose pictures are read while the studio starts."""
PROBLEMS: dict[int | str, dict[str, object]] = {
    400: {"model": Problem, "description": "the body cannot be read"},
    404: {"model": Problem, "description": "no such thing"},
    409: {"model": Problem, "description": "not possible as things stand"},
    422: {"model": Problem, "description": "not valid"},
}


class SessionView(Document):
    """What a client needs before it can change anything."""

    author: str
    csrf: str
    workspace: str
    flow_server: bool


session_router = APIRouter(tags=["session"])


@session_router.get("/session")
def get_session(studio: TheStudio) -> SessionView:
    """The proposed author name and the token to send as X-CSRF-Token with every change."""
    return SessionView(
        author=studio.settings.author,
        csrf=csrf_token(studio.secret),
        workspace=str(studio.settings.root),
        flow_server=studio.flows is not None,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """While the server comes up, open gates are read ahead in the background; damage shows when somebody opens the gate."""

    def warm() -> None:
        studio: Studio = app.state.studio
        with suppress(FlenwheelError):
            studio.overview.warm()
            newest = studio.overview.gates(limit=AHEAD).shown
            studio.reviews.warm([line.session.gate for line in newest if line.closed is None])

    threading.Thread(target=warm, name="warm", daemon=True).start()
    yield


def _check_path(path: str, *routers: APIRouter) -> None:
    """The path is taken from what comes in: a page that begins with it could not be reached."""
    first = path.split("/")[1]
    own = {"api"} | {str(getattr(route, "path", "")).split("/")[1] for router in routers for route in router.routes}
    if first in own:
        raise UserError(
            f"The studio cannot lie below /{first} of another address.",
            why=f"/{first} is one of its own pages.",
            remedy="Choose another path in FLENWHEEL_STUDIO_URL, such as https://host/flen.",
        )


def create_app(settings: Settings, prefect: FlowServer | None) -> FastAPI:
    """The studio of a workspace. Raises UserError if others could reach it without a token, or if its path hides a page."""
    check_binding(settings)
    studio = open_studio(settings, prefect)
    app = FastAPI(
        lifespan=_lifespan,
        title="FLENwheel studio",
        version="1",
        description="Reviews, characters, turns and LoRAs of one workspace. Changes need the X-CSRF-Token of /api/v1/session.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.studio = studio
    add_problem_handlers(app, pages.problem_page)
    for router in (
        session_router,
        gate_api.router,
        critic_api.router,
        evidence_api.router,
        picture_api.router,
        library_api.router,
        folder_api.router,
        framing_api.router,
        record_api.router,
        order_api.router,
        style_api.router,
    ):
        app.include_router(router, prefix="/api/v1", responses=PROBLEMS)
    files = static_router()
    app.include_router(health.router, responses=PROBLEMS)
    app.include_router(pages.router, include_in_schema=False)
    app.include_router(style_pages.router, include_in_schema=False)
    app.include_router(files)
    app.add_middleware(Guard, settings=settings, secret=studio.secret, logins=studio.logins)
    if settings.studio_path:
        _check_path(settings.studio_path, pages.router, style_pages.router, files, health.router)
        app.add_middleware(Mounted, path=settings.studio_path)
    return app
