"""Errors as answers: the same three sentences everywhere, and the status that fits."""

from collections.abc import Callable, Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from deployments.studio.security import HEADERS
from flenwheel_core.base.disk import disk_error
from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import (
    FlenwheelError,
    GateError,
    InputError,
    MissingWeightsError,
    NotFoundError,
    ReadOnlyError,
    RecipeError,
    ResourceError,
    RetryableError,
    TurnError,
    UserError,
)

STATUSES: tuple[tuple[type[FlenwheelError], int], ...] = (
    (NotFoundError, 404),
    (GateError, 409),
    (TurnError, 409),
    (InputError, 422),
    (RecipeError, 422),
    (MissingWeightsError, 409),
    (ResourceError, 507),
    (ReadOnlyError, 503),
    (RetryableError, 503),
    (UserError, 400),
)


class Problem(Document):
    """What went wrong, why, and what to do."""

    what: str
    why: str = ""
    remedy: str = ""


def status_of(error: FlenwheelError) -> int:
    """The HTTP status of an error; damage in the store is 500."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def add_problem_handlers(app: FastAPI, page: Callable[[Request, int, str, str, str], Response]) -> None:
    """Answers every error of ours, and every invalid request, as a Problem; `page` makes a page of it for people."""

    @app.exception_handler(FlenwheelError)
    def known(request: Request, error: FlenwheelError) -> Response:
        return answer(request, status_of(error), error.what, error.why, error.remedy)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = [
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()[:5]
        ]
        return answer(request, 422, "The request is not valid.", "; ".join(wrong), "See /api for what is asked for.")

    @app.exception_handler(OSError)
    def disk(request: Request, error: OSError) -> Response:
        problem = disk_error(error, str(error.filename or "a file"))
        if problem is None:
            raise error
        return known(request, problem)

    @app.exception_handler(HTTPException)
    def plain(request: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, OSError) and disk_error(error.__cause__, "") is not None:
            return disk(request, error.__cause__)
        what = "There is nothing at this address." if error.status_code == 404 else str(error.detail)
        return answer(request, error.status_code, what, "", "", error.headers)

    @app.exception_handler(Exception)
    def defect(request: Request, error: Exception) -> Response:
        found = answer(
            request,
            500,
            "The studio met a defect.",
            type(error).__name__,
            "Please report it: logs/studio.log in the workspace says more.",
        )
        found.headers.update(HEADERS)  # This answer passes no guard any more.
        return found

    def answer(
        request: Request, status: int, what: str, why: str, remedy: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        if request.url.path.startswith(("/api/", "/static/")):
            content = Problem(what=_clean(what), why=_clean(why), remedy=remedy).model_dump()
            return JSONResponse(content, status_code=status, headers=headers)
        return page(request, status, _clean(what), _clean(why), remedy)


def _clean(text: str) -> str:
    """Without lone surrogates, which a client may send and no answer can hold."""
    return text.encode("utf-8", "replace").decode()
