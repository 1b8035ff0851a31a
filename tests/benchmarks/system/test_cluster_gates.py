"""What is asked for while many gates wait, and what these gates are."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from benchmarks.kit.cluster_services import BUCKET
from benchmarks.system import cluster_gates as module
from benchmarks.system.cluster_gates import fill, kinds_of
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store
from tests.kit import s3_server


def test_showing_a_gate_is_measured_without_the_decision() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        return httpx.Response(200, json={"columns": {"digest": ["abc"]}})

    with httpx.Client(base_url="http://studio", transport=httpx.MockTransport(answer)) as client:
        kinds = kinds_of(client, "csrf", ["mira-t1-gate-a-r1"], 3)
        kinds["gate_with_its_pictures"](0)
        assert asked == ["GET /gates/mira-t1-gate-a-r1", "GET /api/v1/gates/mira-t1-gate-a-r1/pictures"]
        kinds["decision"](0)
        assert asked[2:] == ["POST /api/v1/gates/mira-t1-gate-a-r1/pictures/abc/decision"]


@pytest.mark.slow
def test_gates_are_such_as_people_left_them(s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWERED", 1)
    options = s3_server.options_of(s3_endpoint)
    running: Any = SimpleNamespace(recipe="nano", objects=SimpleNamespace(options=options), prefix=tmp_path.name)
    waiting = fill(running, 2, 4)
    reviews = Reviews(Store(f"s3://{BUCKET}/{tmp_path.name}", options))
    closed = [gate for gate in reviews.gates() if reviews.closed(gate) is not None]
    assert len(waiting) == 4 and len(closed) == 2 and not set(closed) & set(waiting)
    decided = [gate for gate in waiting if reviews.current(gate)]
    assert len(decided) == 2, "half of those that wait"
    names = list(reviews.store.files.list("journals"))
    assert names and all(name.endswith(".json") for name in names), "locks are no part of an object store"
