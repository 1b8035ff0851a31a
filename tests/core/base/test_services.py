"""Where a workspace answers."""

from datetime import UTC, datetime
from pathlib import Path

from flenwheel_core.base.services import Services, gate_address, save_services
from flenwheel_core.base.settings import Settings


def test_gate_links_lead_to_where_people_can_go(tmp_path: Path) -> None:
    alone = Settings(workspace=tmp_path)
    assert gate_address(alone, "mira-t1-gate-a-r1") is None, "nothing runs here"
    public = Settings(workspace=tmp_path, studio_url="https://Studio.example:443/")
    wanted = "https://studio.example/gates/mira-t1-gate-a-r1"
    assert gate_address(public, "mira-t1-gate-a-r1") == wanted, "also on a machine with a worker only"
    below = Settings(workspace=tmp_path, studio_url="https://Host.example/Flen/")
    assert gate_address(below, "mira-t1-gate-a-r1") == "https://host.example/Flen/gates/mira-t1-gate-a-r1"
    here = "http://127.0.0.1:4300"
    services = Services(
        pid=1, started=datetime.now(UTC), api_url="", interface_url="", studio_url=here, logs=str(tmp_path)
    )
    save_services(alone, services)
    assert gate_address(alone, "mira-t1-gate-a-r1") == f"{here}/gates/mira-t1-gate-a-r1"
    assert gate_address(public, "mira-t1-gate-a-r1") == wanted
