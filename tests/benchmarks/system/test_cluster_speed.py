"""What the benchmark of a cluster's speed does beside the turns that it measures: nothing."""

from pathlib import Path
from typing import cast

import pytest

from benchmarks.system import cluster_speed
from deployments.prefect.api import FlowRun, PrefectApi
from flenwheel_core.gates.session import Reviews
from flenwheel_core.store import Store
from tests.kit.gate_world import open_gate


def test_gates_of_other_turns_are_left_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store((tmp_path / "store").as_uri())
    reviews, session = Reviews(store), open_gate(store, 2, side=16)
    first = FlowRun.model_validate({"id": "first", "name": "first", "state": None})
    resumed: list[str] = []
    monkeypatch.setattr(cluster_speed, "waiting_runs", lambda api: {session.gate: first})
    monkeypatch.setattr(cluster_speed, "resume_gate", lambda api, run, closed: resumed.append(run))
    api = cast(PrefectApi, None)
    cluster_speed.answer_gates(api, reviews, {"measured"})
    assert reviews.closed(session.gate) is None and resumed == []
    cluster_speed.answer_gates(api, reviews, {"first"})
    assert reviews.closed(session.gate) is not None and resumed == ["first"]
