"""The API against its own description: whatever is sent, no answer is a server error, and every answer is as described."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flenwheel_core.review.web.app import create_app
from flenwheel_core.review.web.security import csrf_token
from flenwheel_core.store import Store
from tests.review.world import open_gate, settings_in

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder: Path = tmp_path_factory.mktemp("fuzz")
    chosen = settings_in(folder)
    open_gate(Store(chosen.store_url), 3, side=64)
    app = create_app(chosen, None)
    found = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    app.state.csrf = csrf_token(app.state.studio.secret)
    return found


schema = schemathesis.pytest.from_fixture("api")


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_api(case: schemathesis.Case) -> None:
    app = case.operation.schema.app
    headers = {"x-csrf-token": app.state.csrf, "host": "127.0.0.1"}
    case.call_and_validate(headers=headers, checks=CHECKS)
