"""Runs that wait, as a real server knows them: every one of them, and the turn of one ended from a machine that runs nothing."""

from pathlib import Path

import pytest

from benchmarks.kit.prefect_server import PrefectServer, serve
from deployments.prefect.api import PAGE
from deployments.prefect.gates import waiting_runs
from flenwheel_core.base.ids import Json
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.store import Store
from tests.kit.command_line import run


def suspend(server: PrefectServer, flow: str, gate: str) -> str:
    """A run of the deployment that is suspended at a gate."""
    keys = {part: f"suspended-{gate}-1-{part}" for part in ("response", "schema", "description")}
    state: dict[str, Json] = {
        "type": "PAUSED",
        "name": "Suspended",
        "state_details": {"run_input_keyset": {**keys}, "pause_reschedule": True},
    }
    body: dict[str, Json] = {"flow_id": flow, "deployment_id": server.deployment, "name": gate, "state": state}
    return server.made("/flow_runs/", body)


@pytest.mark.slow
def test_every_run_that_waits_is_found_and_its_turn_ended_from_elsewhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_database: Path
) -> None:
    elsewhere = Settings.model_validate({"workspace": tmp_path / "elsewhere"})
    library = Library(Store(elsewhere.store_url))
    library.create_character(Character(name="mira", trigger="ohwx", class_word="person", kind="person", recipe="nano"))
    with serve(tmp_path, database=prefect_database) as server:
        flow = server.made("/flows/", {"name": "flywheel-1"})
        server.deployment = server.made(
            "/deployments/", {"name": "turn", "flow_id": flow, "enforce_parameter_schema": False}
        )
        gates = {f"g{number}": suspend(server, flow, f"g{number}") for number in range(PAGE + 1)}
        assert {gate: found.id for gate, found in waiting_runs(server.api).items()} == gates
        library.open_turn("mira", gates["g0"], "a" * 64)
        monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(elsewhere.root))
        monkeypatch.setenv("FLENWHEEL_SERVER_URL", server.url)
        code, out, _ = run(capsys, "status")
        assert code == 0 and server.url in out and "its run waits" in " ".join(out.split())
        code, out, _ = run(capsys, "end", "mira")
        assert code == 0 and "is ended" in out
        state = server.api.run(gates["g0"]).state
        assert state is not None and state.type in ("CANCELLED", "CANCELLING"), "the run does not go on after its turn"
        assert [turn.outcome for turn in library.ended_turns("mira")] == ["ended"]
