"""Stages whose libraries were imported before they began: forked off a card, in a process that waited on one; each a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flenwheel_core.base.errors import RetryableError
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.runner import stage_process
from flenwheel_core.runner.launch import child_environment, prepare, run_in_child
from flenwheel_core.runner.stage_process import ForkedProcess, fixed_at_start, start_stage
from flenwheel_core.runner.stage_runs import stage_runs
from flenwheel_core.store import Store
from tests.kit.stages import COUNT, CountRequest, CountResult, made_items

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="stages are forked on Linux only")


def run(request: CountRequest, settings: Settings) -> CountResult:
    return run_in_child(COUNT, request, settings, lambda _event: None)


def begin(request: CountRequest, settings: Settings, folder: Path) -> stage_process.StageProcess:
    """A stage that was started and not waited for."""
    folder.mkdir(parents=True)
    (folder / "request.json").write_bytes(request.to_bytes())
    argv = ["count", str(folder / "request.json"), str(folder / "result.json"), "--with-parent"]
    return start_stage(argv, child_environment(settings, None), card=settings.gpu != "cpu", ahead=settings.import_ahead)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@only_linux
def test_stages_are_children_of_one_server_and_named_as_what_they_run(settings: Settings, tmp_path: Path) -> None:
    first = begin(CountRequest(number=400, seconds_each=0.05, name="first"), settings, tmp_path / "first")
    second = begin(CountRequest(number=1, name="other"), settings, tmp_path / "second")
    assert isinstance(first, ForkedProcess) and isinstance(second, ForkedProcess)
    assert first.stdout.readline()
    server = parent_of(first.pid)
    assert first.pid != second.pid and parent_of(server) == os.getpid()
    command = Path(f"/proc/{first.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert command[1:4] == [b"-m", b"flenwheel_core.runner.worker", b"count"]
    assert os.fsencode(tmp_path / "first") in command[4]
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=240) == 203 and second.wait(timeout=240) == 0
    for process in (first, second):
        process.close()


def test_a_stage_sees_the_environment_of_its_own_run(settings: Settings) -> None:
    run_in_child(COUNT, CountRequest(name="a"), settings, lambda _event: None, flow_run="run-a")
    run_in_child(COUNT, CountRequest(name="b"), settings, lambda _event: None, flow_run="run-b")
    run(CountRequest(name="c"), settings)
    told = [line.flow_run for line in stage_runs(Store(settings.store_url)).read() if line.event == "finished"]
    assert told == ["run-a", "run-b", None]


def test_a_killed_stage_takes_no_other_down(settings: Settings) -> None:
    run(CountRequest(name="before"), settings)
    with pytest.raises(RetryableError, match="SIGKILL"):
        run(CountRequest(number=4, kill_at=2), settings)
    assert run(CountRequest(number=4, kill_at=2), settings).counted == (0, 1, 2, 3)


@only_linux
def test_when_the_server_dies_its_stage_saves_and_the_next_ones_run(settings: Settings) -> None:
    request = CountRequest(number=40, seconds_each=0.1)
    killed: list[int] = []

    def kill_server(event: ProgressEvent) -> None:
        if event.kind == "step" and not killed:
            started = next(line for line in stage_runs(Store(settings.store_url)).read() if line.event == "started")
            killed.append(parent_of(started.pid))
            os.kill(killed[0], signal.SIGKILL)

    with pytest.raises(RetryableError):
        run_in_child(COUNT, request, settings, kill_server)
    assert 0 < len(made_items(settings.scratch, request)) < 40
    assert run(request, settings).counted == tuple(range(40))
    assert made_items(settings.scratch, request) == list(range(40)), "nothing was made twice"


@only_linux
def test_what_libraries_read_when_they_are_imported_is_the_stages_own(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        process = begin(CountRequest(name=f"{threads} threads"), settings, tmp_path / threads)
        assert isinstance(process, ForkedProcess)
        servers.append(parent_of(process.pid))
        environment = Path(f"/proc/{servers[-1]}/environ").read_bytes().split(b"\0")
        assert f"OMP_NUM_THREADS={threads}".encode() in environment
        assert process.wait(timeout=240) == 0
        process.close()
    assert servers[0] != servers[1]


@only_linux
def test_a_server_with_threads_serves_nothing_and_stages_start_anew(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(place), os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep))
    process = begin(CountRequest(), settings, tmp_path / "stage")
    assert isinstance(process, subprocess.Popen)
    assert process.communicate(timeout=600) and process.returncode == 0


def test_without_the_setting_stages_start_anew(settings: Settings, tmp_path: Path) -> None:
    process = begin(CountRequest(), settings.model_copy(update={"import_ahead": False}), tmp_path / "stage")
    assert isinstance(process, subprocess.Popen)
    assert process.communicate(timeout=600) and process.returncode == 0


@only_linux
def test_a_server_ends_with_the_process_that_started_it(settings: Settings) -> None:
    code = """
import os
from pathlib import Path
from flenwheel_core.base.settings import Settings
from flenwheel_core.runner import stage_process
from flenwheel_core.runner.launch import prepare
prepare(Settings())
print(stage_process._servers._server._process.pid, flush=True)
os._exit(9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(settings, None),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    pid = int(done.stdout)
    for _ in range(600):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
        except OSError:
            break
        subprocess.run(["sleep", "0.1"], check=True)
    else:
        pytest.fail("the server outlived who started it by a minute")


@only_linux
def test_preparing_starts_one_server_that_the_stage_then_uses(settings: Settings, tmp_path: Path) -> None:
    prepare(settings)
    server = stage_process._servers._server
    assert server is not None
    prepare(settings)
    assert stage_process._servers._server is server
    process = begin(CountRequest(), settings, tmp_path / "stage")
    assert isinstance(process, ForkedProcess) and stage_process._servers._server is server
    assert process.wait(timeout=240) == 0
    process.close()


@pytest.fixture
def on_card(settings: Settings) -> Settings:
    """Settings of a machine that may have a card. Where there is none, stages run all the same."""
    return settings.model_copy(update={"gpu": "auto"})


def test_a_stage_on_a_card_runs_in_the_process_that_waited_for_it(on_card: Settings, tmp_path: Path) -> None:
    prepare(on_card)
    waiting = stage_process._waiting._process
    assert waiting is not None and waiting.poll() is None
    prepare(on_card)
    assert stage_process._waiting._process is waiting, "one is enough"
    process = begin(CountRequest(number=2), on_card, tmp_path / "stage")
    assert process is waiting
    output, _errors = waiting.communicate(timeout=600)
    assert waiting.returncode == 0 and '"done":2' in output
    later = begin(CountRequest(name="later"), on_card, tmp_path / "later")
    assert isinstance(later, subprocess.Popen) and later is not waiting
    assert later.communicate(timeout=600) and later.returncode == 0


def test_a_library_that_is_broken_stops_no_stage_that_needs_nothing_of_it(
    on_card: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "site" / "diffusers"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('operator does not exist')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(broken.parent), os.environ["PYTHONPATH"])))
    prepare(on_card)
    process = begin(CountRequest(), on_card, tmp_path / "stage")
    assert isinstance(process, subprocess.Popen)
    _output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors


def test_where_no_process_can_be_started_nothing_is_prepared(
    on_card: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_process, "_waiting", stage_process._Waiting())  # none of an earlier test waits
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    prepare(on_card)
    assert stage_process._waiting._process is None


def test_a_process_that_died_while_it_waited_is_no_loss(on_card: Settings, tmp_path: Path) -> None:
    prepare(on_card)
    waiting = stage_process._waiting._process
    assert waiting is not None
    waiting.kill()
    waiting.wait()
    process = begin(CountRequest(), on_card, tmp_path / "stage")
    assert isinstance(process, subprocess.Popen) and process is not waiting
    assert process.communicate(timeout=600) and process.returncode == 0


def test_a_process_that_waits_ends_with_the_one_that_started_it(on_card: Settings) -> None:
    prepare(on_card)
    waiting = stage_process._waiting._process
    assert waiting is not None and waiting.stdin is not None
    waiting.stdin.close()
    waiting.stdin = None
    waiting.communicate(timeout=600)
    assert waiting.returncode == 0


def test_only_what_counts_at_the_start_tells_servers_apart() -> None:
    common = {"OMP_NUM_THREADS": "2", "HF_HOME": "/hub"}
    other = {"FLENWHEEL_FLOW_RUN": "x", "PREFECT_API_URL": "y", "TORCHINDUCTOR_CACHE_DIR": "z", "PATH": "p"}
    assert fixed_at_start(common | other) == common
