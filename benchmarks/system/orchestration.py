"""What orchestration costs: replaying a finished turn, going on after a gate, and everything in a turn that is not stage work.

    python -m benchmarks.system.orchestration

Real server and worker, stand-in stages. Run it on an idle machine.
"""

import argparse
import os
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path

from benchmarks.kit.workspace import Running, write_recipe
from benchmarks.result_file import RESULTS, Row, write_result
from deployments.prefect.api import FlowRun
from flenwheel_core.base.settings import Settings

HOUR_SECONDS = 3600


def measure(running: Running, turns: int) -> list[Row]:
    """All cases, each the median over turns."""
    resumes, overheads, replays = [], [], []
    for number in range(turns):
        name = f"mira{number}"
        running.add_character(name)
        began = time.monotonic()
        run = running.schedule(name)
        for gate in (f"{name}-t1-gate-a-r1", f"{name}-t1-gate-b-r1"):
            running.wait_gate(gate)
            answered = time.monotonic()
            assert running.answer(gate).accepted
            resumes.append(_until_next_stage(running, answered))
        ended = running.wait_state(run, "COMPLETED")
        seconds = time.monotonic() - began
        stages = sum(line.seconds or 0.0 for line in running.stage_runs() if line.flow_run == run)
        overheads.append(seconds - stages)
        replays.append(_replay(running, ended))
        print(
            f"{name}: turn {seconds:.1f} s, stages {stages:.1f} s, resumes {resumes[-2:]}, replay {replays[-1]:.1f} s",
            flush=True,
        )
    overhead = statistics.median(overheads)
    # On a busy machine the start of a process dominates; the figure says how busy it was.
    load = os.getloadavg()[1]
    return [
        {"case": "replay_finished_turn", "seconds": statistics.median(replays), "turns": turns, "load_average": load},
        {
            "case": "gate_resume",
            "seconds": statistics.median(resumes),
            "slowest_seconds": max(resumes),
            "resumes": len(resumes),
            "load_average": load,
        },
        {"case": "turn_overhead", "seconds": overhead, "share_of_an_hour": overhead / HOUR_SECONDS, "turns": turns},
    ]


def _until_next_stage(running: Running, since: float) -> float:
    """Seconds from the answer until the next stage is at work."""
    known = len(running.stage_runs())
    while len(running.stage_runs()) == known:
        time.sleep(0.02)
    return time.monotonic() - since


def _replay(running: Running, run: FlowRun) -> float:
    """Seconds the flow takes when everything is made already, from its own start to its end."""
    running.api.retry(run.id, force=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = running.api.run(run.id)
        if found.run_count > run.run_count and found.state is not None and found.state.type == "COMPLETED":
            assert found.start_time is not None
            return _seconds_in_last_run(running, found)
        time.sleep(0.1)
    raise SystemExit(f"the replay did not end: {running.worker_log()}")


def _seconds_in_last_run(running: Running, run: FlowRun) -> float:
    states = running.api.call("GET", f"/flow_run_states/?flow_run_id={run.id}")
    assert isinstance(states, list)
    times = sorted(
        (datetime.fromisoformat(str(state["timestamp"]).replace("Z", "+00:00")), str(state["type"]))
        for state in states
        if isinstance(state, dict)
    )
    running_since = [at for at, type_ in times if type_ == "RUNNING"][-1]
    return (times[-1][0] - running_since).total_seconds()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flenwheel-orchestration-") as place:
        folder = Path(place)
        settings = Settings(
            workspace=folder / "workspace",
            gpu="cpu",
            author="benchmark",
            stage_modules=("benchmarks.kit.turn_stages",),
            models=folder / "models",
        )
        running = Running(settings, write_recipe(folder))
        running.start()
        try:
            rows = measure(running, arguments.turns)
        finally:
            running.stop()
    print(write_result("orchestration", rows, folder=arguments.results))


if __name__ == "__main__":
    main()
