"""The API against its own description: whatever is sent, no answer is a server error, and every answer is as described."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from deployments.studio.app import create_app
from deployments.studio.security import csrf_token
from flenwheel_core.store import Store
from tests.kit.gate_world import open_gate, settings_in

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 10
LOOPBACK = {"host": "127.0.0.1"}


@pytest.mark.slow
def test_no_request_breaks_the_api(tmp_path: Path) -> None:
    chosen = settings_in(tmp_path)
    session = open_gate(Store(chosen.store_url), 3, side=64)
    app = create_app(chosen, None)
    headers = {**LOOPBACK, "x-csrf-token": csrf_token(app.state.studio.secret)}
    image = app.state.studio.reviews.images(session)[0].digest
    known = {"gate": session.gate, "image": image, "name": "mira"}
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=LOOPBACK)
    tried = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        tried.add(operation.label)

        @settings(
            max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
        )
        @given(case=operation.as_strategy())
        def attack(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)
            # Once more where there is something to find: random names are nearly always unknown.
            case.path_parameters = {
                **case.path_parameters,
                **{k: v for k, v in known.items() if k in case.path_parameters},
            }
            case.call_and_validate(headers=headers, checks=CHECKS)

        attack()
    assert len(tried) > 30
