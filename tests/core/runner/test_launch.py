"""Stages in child processes: done once, resumed after a kill, one at a time on a card, errors with their remedy."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flenwheel_core.base.errors import (
    FlenwheelError,
    InputError,
    InterruptedStageError,
    NoTighterPlanError,
    RetryableError,
)
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.runner.launch import SPINS, child_environment, run_in_child
from flenwheel_core.runner.stage_runs import stage_runs
from flenwheel_core.store import Store
from tests.kit.stages import COUNT, CountRequest, CountResult, made_items


def run(request: CountRequest, settings: Settings, events: list[ProgressEvent] | None = None) -> CountResult:
    return run_in_child(COUNT, request, settings, (events if events is not None else []).append)


def test_result_is_made_once_and_progress_is_told(settings: Settings) -> None:
    request, events = CountRequest(number=3), []
    assert run(request, settings, events).counted == (0, 1, 2)
    assert any(event.kind == "step" and event.done == event.total == 3 for event in events)
    assert run(request, settings).counted == (0, 1, 2)
    assert made_items(settings.scratch, request) == [0, 1, 2]
    runs = list(stage_runs(Store(settings.store_url)).read())
    assert [line.event for line in runs] == ["started", "finished"]
    assert runs[0].slot == settings.slot_name and runs[1].peak_ram_gib


def test_killed_stage_goes_on_where_it_stopped(settings: Settings) -> None:
    request = CountRequest(number=4, kill_at=2)
    with pytest.raises(RetryableError, match="SIGKILL"):
        run(request, settings)
    assert run(request, settings).counted == (0, 1, 2, 3)
    assert made_items(settings.scratch, request) == [0, 1, 2, 3]


def test_user_error_comes_back_with_why_and_remedy(settings: Settings) -> None:
    with pytest.raises(InputError) as caught:
        run(CountRequest(fail="user"), settings)
    assert (caught.value.what, caught.value.why) == ("The picture is upside down.", "it was held so.")
    assert caught.value.remedy == "Turn it."


def test_defect_keeps_its_trace(settings: Settings) -> None:
    with pytest.raises(FlenwheelError, match="ZeroDivisionError") as caught:
        run(CountRequest(fail="defect"), settings)
    assert "tests/kit/stages.py" in caught.value.why and not isinstance(caught.value, RetryableError)


def test_out_of_memory_is_tried_again_with_ever_tighter_plans(settings: Settings) -> None:
    notes: list[str] = []
    result = run_in_child(COUNT, CountRequest(fail="memory"), settings, lambda event: notes.append(event.text or ""))
    assert result.memory_level == 2
    told = [note for note in notes if "out of memory" in note]
    assert [f"plan {level}" in note for level, note in enumerate(told, start=1)] == [True, True]


def test_it_ends_when_there_is_no_tighter_plan(settings: Settings) -> None:
    with pytest.raises(NoTighterPlanError, match="no tighter plan"):
        run(CountRequest(fail="always memory"), settings)


def test_two_stages_never_hold_the_card_at_once(settings: Settings) -> None:
    requests = [CountRequest(number=5, seconds_each=0.05, name=name) for name in ("one", "two")]
    threads = [threading.Thread(target=run, args=(request, settings)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = sorted(stage_runs(Store(settings.store_url)).read(), key=lambda line: line.at)
    assert [line.event for line in lines] == ["started", "finished", "started", "finished"]
    assert lines[0].request == lines[1].request != lines[2].request == lines[3].request


def test_same_request_twice_at_once_is_made_once(settings: Settings) -> None:
    request = CountRequest(number=4, seconds_each=0.05)
    results: list[CountResult] = []
    threads = [threading.Thread(target=lambda: results.append(run(request, settings))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.counted for result in results] == [(0, 1, 2, 3)] * 2
    assert made_items(settings.scratch, request) == [0, 1, 2, 3]


def worker(request: CountRequest, settings: Settings, folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.json").write_bytes(request.to_bytes())
    command = [
        sys.executable,
        "-m",
        "flenwheel_core.runner.worker",
        "count",
        str(folder / "request.json"),
        str(folder / "result.json"),
    ]
    return subprocess.Popen(command, env=child_environment(settings, None), stdout=subprocess.PIPE)


def test_sigterm_saves_and_says_that_a_retry_makes_sense(settings: Settings, tmp_path: Path) -> None:
    request = CountRequest(number=200, seconds_each=0.05)
    process = worker(request, settings, tmp_path / "by-hand")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=240) == 203
    process.stdout.close()
    described = json.loads((tmp_path / "by-hand" / "result.json").read_text())
    assert described["error"] == InterruptedStageError.__name__
    assert made_items(settings.scratch, request)


def test_kill_of_the_holder_frees_the_card_at_once(settings: Settings, tmp_path: Path) -> None:
    holder = worker(CountRequest(number=2000, seconds_each=0.05, name="holder"), settings, tmp_path / "holder")
    assert holder.stdout is not None
    holder.stdout.readline()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    began = time.monotonic()
    run(CountRequest(number=1, name="next"), settings)
    assert time.monotonic() - began < 60, "it would have held it for 100 seconds"


def test_bad_request_file_is_a_clear_error(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"number": "many"}')
    command = [
        sys.executable,
        "-m",
        "flenwheel_core.runner.worker",
        "count",
        str(tmp_path / "bad.json"),
        str(tmp_path / "out.json"),
    ]
    done = subprocess.run(command, env=child_environment(settings, None), capture_output=True, text=True, check=False)
    assert done.returncode == 202 and "Traceback" not in done.stderr
    assert "no request of the stage count" in (tmp_path / "out.json").read_text()


def test_full_disk_is_a_clear_error_and_loses_nothing(settings: Settings, tmp_path: Path) -> None:
    store = Store((tmp_path / "small").as_uri())
    digest = store.put_blob(b"kept")
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(FlenwheelError):
            store.put_blob(b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    assert store.get_blob(digest) == b"kept"
    assert len(list(store.files.list("blobs"))) == 1


def test_kernels_that_are_off_are_off_in_the_stage(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for off in ((), ("modulated", "gelu"), ("all",)):
        wanted = settings.model_copy(update={"kernels_off": off})
        for name, value in child_environment(wanted, None).items():
            monkeypatch.setenv(name, value)
        assert Settings().kernels_off == off


def test_threads_of_a_stage_spin_shortly_unless_the_user_says_how(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    assert child_environment(settings, None)["GOMP_SPINCOUNT"] == str(SPINS)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert "GOMP_SPINCOUNT" not in child_environment(settings, None)
