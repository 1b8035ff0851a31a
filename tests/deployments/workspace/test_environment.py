"""What the processes of a workspace are told."""

from pathlib import Path

import pytest

from deployments.prefect import server as prefect_server
from deployments.workspace.environment import joined_worker_command, local_url, prefect_environment, worker_command
from flenwheel_core.base.errors import UserError
from flenwheel_core.base.settings import Settings


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4200"),
        ("0.0.0.0", "http://127.0.0.1:4200"),
        ("::", "http://[::1]:4200"),
        ("[::1]", "http://[::1]:4200"),
        ("myhost", "http://myhost:4200"),
    ],
)
def test_processes_of_this_machine_find_the_server(tmp_path: Path, host: str, url: str) -> None:
    settings = Settings(workspace=tmp_path, host=host)
    assert local_url(settings, 4200) == url
    assert prefect_environment(settings, 4200)["PREFECT_API_URL"] == f"{url}/api"


def test_the_interface_asks_where_it_was_opened_and_invites_no_other_site(tmp_path: Path) -> None:
    told = prefect_environment(Settings(workspace=tmp_path, host="0.0.0.0"), 4200)
    assert told["PREFECT_SERVER_UI_API_URL"] == "/api"
    assert told["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"
    told = prefect_environment(Settings(workspace=tmp_path, prefect_url="https://prefect.example"), 4200)
    assert told["PREFECT_UI_URL"] == told["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "https://prefect.example"
    assert told["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"


def test_the_server_alone_does_not_listen_to_the_world_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="without a token"):
        prefect_server.main("0.0.0.0", 4200)


def test_a_machine_alone_takes_all_runs_and_one_of_a_cluster_few_unless_a_limit_is_set(tmp_path: Path) -> None:
    settings = Settings(workspace=tmp_path)
    assert "--limit" not in worker_command(settings)
    assert joined_worker_command(settings)[-2:] == ["--limit", "2"]
    limited = settings.model_copy(update={"runs_at_once": 3})
    assert worker_command(limited) == joined_worker_command(limited)
    assert worker_command(limited)[1:3] == ["-m", "deployments.prefect.worker"]
