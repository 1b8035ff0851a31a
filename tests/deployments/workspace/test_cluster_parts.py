"""What a cluster's machines are told, and what is refused before anything starts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmarks.kit.cluster_services import start_postgres, start_redis
from deployments.prefect.api import FlowRun
from deployments.workspace import cluster, cluster_parts, environment, joining
from deployments.workspace.cluster import ClusterMachine
from deployments.workspace.cluster_doctor import differing_versions, used_part
from deployments.workspace.joining import card_settings
from deployments.workspace.processes import Child
from deployments.workspace.reconciler import is_lost
from flenwheel_core.base.errors import RecipeError, ServerError, UserError
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.slots import cards_for, slots_for
from flenwheel_core.library.machines import MachineCard
from tests.kit.command_line import run

PARTS = {"database_url": "postgres://flen:hunter2@db/flenwheel", "redis_url": "redis://:hunter2@cache:6379/0"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_servers_processes_keep_nothing_in_their_memory_and_a_workers_know_no_password(tmp_path: Path) -> None:
    settings = Settings.model_validate({"workspace": tmp_path, "server_url": "http://server:4200/api/", **PARTS})
    told = environment.cluster_environment(settings, 4200)
    assert told["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == "postgresql+asyncpg://flen:hunter2@db/flenwheel"
    assert told["PREFECT_SERVER_DOCKET_URL"] == told["PREFECT_REDIS_MESSAGING_URL"] == "redis://:hunter2@cache:6379/0"
    assert told["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] == "prefect_redis.lease_storage"
    joined = environment.joined_environment(settings, "http://server:4200/api")
    assert (
        joined["PREFECT_API_URL"] == "http://server:4200/api" and joined["FLENWHEEL_SERVER_URL"] == "http://server:4200"
    )
    assert joined["PREFECT_WORKER_HEARTBEAT_SECONDS"] == "30"
    assert not [name for name, value in joined.items() if "hunter2" in value]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("database_url", "mysql://flen:hunter2@db/x", "postgresql://NAME:PASSWORD@HOST:PORT/DATABASE"),
        ("redis_url", "http://:hunter2@cache", "redis://:PASSWORD@HOST:PORT/NUMBER"),
        ("database_url", "postgresql://flen:x?hunter2@db:5432/x", "%3F"),
        ("database_url", "postgresql://flen:1/hunter2@db/x", "%2F"),
        ("database_url", "postgresql://flen:1?hunter2@db/x", "%3F"),
        ("database_url", "postgresql://flen:x@hunter2@db/x", "%40"),
        ("redis_url", "redis://:x/hunter2@cache:6379/0", "%2F"),
        ("redis_url", "redis://:x#hunter2@cache:6379/0", "%23"),
        ("server_url", "server:4200", "http:// or https://"),
        ("machine_name", "a/b", "letters, digits, dots, dashes"),
        ("cards", "0,all", "all, or the cards by name"),
        ("cards", "one", "a card is its index"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_without_its_password(name: str, value: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as refused:
        Settings.model_validate({name: value})
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "postgresql://db"),
        ("database_url", "postgresql://a%40b:p%2Fw@db-1.example:5432,[::1]:5433/flen?target_session_attrs=primary"),
        ("database_url", "postgresql:///flen?host=/var/run/postgresql"),
        ("redis_url", "rediss://name:p%40w@[::1]:6379/3?ssl_cert_reqs=none"),
        ("redis_url", "redis://cache"),
    ],
)
def test_every_address_that_clients_read_is_taken(name: str, value: str) -> None:
    assert getattr(Settings.model_validate({name: value}), name).get_secret_value() == value


@pytest.mark.parametrize(
    ("reach", "name", "value"),
    [
        (cluster_parts.reach_database, "database_url", "postgresql://flen:x?hunter2@127.0.0.1/x"),
        (cluster_parts.reach_redis, "redis_url", "redis://:x/hunter2@127.0.0.1:6379/0"),
        (cluster_parts.reach_redis, "redis_url", "redis://:hunter2@127.0.0.1:hunter2/0"),
    ],
)
def test_what_a_client_says_of_an_address_that_it_cannot_read_is_not_repeated(
    tmp_path: Path, reach: Callable[[Settings], object], name: str, value: str
) -> None:
    settings = Settings.model_validate({"workspace": tmp_path}).model_copy(update={name: SecretStr(value)})
    with pytest.raises(ServerError, match=f"FLENWHEEL_{name.upper()}") as refused:
        reach(settings)
    assert "hunter2" not in refused.value.message and "%2F" in refused.value.message


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "FLENWHEEL_DATABASE_URL and FLENWHEEL_REDIS_URL are not set"),
        ({"redis_url": "redis://r"}, "FLENWHEEL_DATABASE_URL is not set"),
        (PARTS, "FLENWHEEL_STORE is not set"),
    ],
)
def test_a_server_is_not_started_without_its_parts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, given: dict[str, str], missing: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"FLENWHEEL_{name.upper()}", value)
    code, _, said = run(capsys, "up", "--server")
    assert code == 1 and missing in said


def test_a_studio_and_a_worker_need_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "up", "--studio")
    assert code == 1 and "FLENWHEEL_SERVER_URL is not set" in said
    code, _, said = run(capsys, "up", "--join", "server")
    assert code == 1 and "'server' is no address of a server" in said and "http://MACHINE:4200" in said


def test_a_machine_that_would_keep_pictures_to_itself_does_not_join(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "up", "--join", "http://server:4200")
    assert code == 1 and "FLENWHEEL_STORE is not set" in said


def test_a_machine_of_a_cluster_is_asked_which_part_it_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLENWHEEL_SERVER_URL", "http://server:4200")
    code, _, said = run(capsys, "up")
    assert code == 1 and "belongs to a cluster" in said and "--join http://server:4200" in said


def test_each_card_gets_a_worker_with_a_slot_and_a_name_of_its_own(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"workspace": tmp_path, "machine_name": "rack-2", "cards": "0,1", "runs_at_once": 3}
    )
    first, second = card_settings(settings)
    assert (first.slot_name, second.slot_name) == ("rack-2:0", "rack-2:1") and first.slot_lock != second.slot_lock
    commands = [environment.joined_worker_command(one) for one in (first, second)]
    names = [command[command.index("--name") + 1] for command in commands]
    assert len(set(names)) == 2 and all(name.startswith("rack-2-") for name in names)
    assert environment.joined_worker_command(second) == commands[1], "the same after a restart"
    assert commands[0][-2:] == ["--limit", "3"]
    assert environment.worker_names(settings) >= set(names)
    running = {"id": "r", "name": "n", "state": {"type": "RUNNING", "name": "Running"}}
    for name, lost in ((names[1], True), ("rack-3-x", False)):
        labelled = FlowRun.model_validate({**running, "labels": {"prefect.worker.name": name}})
        assert is_lost(labelled, first) is lost, "a machine judges the runs of all its workers, and no others"
    with pytest.raises(UserError, match="cannot share one slot"):
        card_settings(settings.model_copy(update={"slot": "one"}))


def test_a_worker_of_one_card_knows_the_machines_others_for_trainings_on_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_count_cards", lambda: 3)
    settings = Settings.model_validate({"workspace": tmp_path, "machine_name": "rack-2", "cards": "all"})
    last = card_settings(settings)[-1]
    assert last.gpu == "2" and last.cards == ("0", "1", "2")
    told = environment.joined_environment(last, "http://server:4200/api")
    for name, value in told.items():
        if name.startswith("FLENWHEEL_"):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("FLENWHEEL_PROJECT")
    assert [slot.name for slot in slots_for(Settings(), 2)] == ["rack-2:0", "rack-2:2"]
    assert cards_for(Settings(), 2) == ("2", "0"), "its own first"


@pytest.mark.parametrize(
    ("value", "ok"),
    [
        ("prefect_redis.lease_storage", True),
        ("redis://:hunter2@cache:6379/0", True),
        ("prefect.server.concurrency.lease_storage.memory", False),
        ("prefect.server.concurrency.lease_storage.filesystem", False),
        ("memory://", False),
        (None, False),
    ],
)
def test_what_only_one_server_sees_is_an_error(value: str | None, ok: bool) -> None:
    found = used_part("docket", value)
    assert found.ok is ok and "hunter2" not in found.text


def test_machines_that_run_other_versions_are_named() -> None:
    card = {"roles": ("worker",), "at": "2026-01-01T00:00:00Z"}
    same = MachineCard.model_validate({"name": "a", "versions": {}, **card})
    assert [finding.ok for finding in differing_versions([same])] == [True]
    other = MachineCard.model_validate({"name": "rack-2", "versions": {"prefect": "3.0.0"}, **card})
    (finding,) = differing_versions([same, other])
    assert not finding.ok and "3.0.0 on rack-2" in finding.text and "here" in finding.text


@pytest.mark.slow
def test_postgres_and_redis_are_reached_and_one_server_at_a_time_has_its_turn(tmp_path: Path) -> None:
    postgres, redis = start_postgres(), start_redis(tmp_path / "redis")
    try:
        settings = Settings.model_validate({"database_url": postgres.url, "redis_url": redis.url})
        assert cluster_parts.reach_database(settings).version and cluster_parts.reach_redis(settings).version
        turns = ("watch", "watch", "orders", "orders")
        found = [cluster_parts.is_our_turn(settings, what, 60) for what in turns]
        assert found == [True, False, True, False], "one duty takes no other's turn"
        redis.kill()
        postgres.kill()
        assert cluster_parts.is_our_turn(settings, "watch", 60) is False
        for reach, name in ((cluster_parts.reach_redis, "Redis"), (cluster_parts.reach_database, "Postgres")):
            with pytest.raises(ServerError, match=f"The {name}.*does not answer"):
                reach(settings)
    finally:
        postgres.stop()
        redis.stop()


def test_a_server_that_others_reach_needs_a_token(tmp_path: Path) -> None:
    settings = Settings.model_validate({"workspace": tmp_path, "store": "s3://b/p", "host": "0.0.0.0", **PARTS})
    with pytest.raises(UserError, match="without a token"):
        ClusterMachine(settings, print, server=True, join=None, studio=False)


def test_no_worker_starts_before_all_are_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preparing takes runs up that have no process, and judges by the names of all workers of the machine."""
    done: list[str] = []
    monkeypatch.setattr(cluster, "ensure_pool", lambda api, pool: None)
    monkeypatch.setattr(cluster, "prepare_worker", lambda api, one: done.append(f"prepare {one.gpu}") or [])
    monkeypatch.setattr(Child, "start", lambda child: done.append(child.name))
    monkeypatch.setattr(cluster.machines, "write_card", lambda *_: None)
    settings = Settings.model_validate({"workspace": tmp_path, "store": str(tmp_path / "store"), "cards": "0,1"})
    ClusterMachine(settings, print, server=False, join="http://127.0.0.1:9", studio=False).start()
    assert done == ["prepare 0", "prepare 1", "worker-0", "worker-1"]
