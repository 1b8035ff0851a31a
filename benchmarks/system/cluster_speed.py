"""Turns an hour of two machines against one, and how soon a machine that joins is at work.

    python -m benchmarks.system.cluster_speed                 # stages are stand-ins that wait as long as is said
    python -m benchmarks.system.cluster_speed --recipe nano   # real stages on the nano models; two cores for two machines

Server, Postgres, Redis and object store run beside the machines, on the same cores: run it where nothing else does. Gates are answered at
once. One machine does all turns first, then two machines do as many anew.
"""

import argparse
import time
from collections.abc import Set
from pathlib import Path

from benchmarks.kit.cluster import Cluster, cluster
from benchmarks.kit.workspace import FINAL, wait_for
from benchmarks.result_file import RESULTS, Row, write_result
from deployments.prefect.api import PrefectApi
from deployments.prefect.gates import resume_gate, waiting_runs
from flenwheel_core.gates.session import Reviews
from flenwheel_core.runner.stage_runs import stage_runs

MOST_SECONDS = 3600.0
STAND_INS = "stand-ins"


def do_turns(running: Cluster, names: list[str]) -> float:
    """Seconds from scheduling all turns to the end of the last."""
    for name in names:
        running.add_character(name)
    api, reviews = running.api(), Reviews(running.store)
    began = time.monotonic()
    runs = {api.start("flywheel-1/turn", {"character": name}).id for name in names}
    while runs:
        if time.monotonic() - began > MOST_SECONDS:
            raise SystemExit(f"the turns did not end: {running.said()}")
        answer_gates(api, reviews, runs)
        for run_id in sorted(runs):
            state = api.run(run_id).state
            if state is not None and state.type in FINAL:
                if state.type != "COMPLETED":
                    raise SystemExit(f"a turn ended as {state.type}: {state.message}\n{running.said()}")
                runs.discard(run_id)
        time.sleep(0.5)
    return time.monotonic() - began


def answer_gates(api: PrefectApi, reviews: Reviews, runs: Set[str]) -> None:
    """Approves the gates that these runs wait at; those of others are not part of what is measured."""
    for gate, run in waiting_runs(api).items():
        if run.id in runs:
            closed = reviews.close(gate, "approve", "take_passed", override_minimum=True, reviewer="speed")
            resume_gate(api, run.id, closed)


def first_stage_seconds(running: Cluster, name: str, character: str) -> float:
    """From `flenwheel up --join` on a fresh machine, while a run waits, to its first stage.

    That turn is over when this returns: what is measured afterwards is not measured beside it.
    """
    running.add_character(character)
    run = running.api().start("flywheel-1/turn", {"character": character}).id
    machine = running.add_worker(name)
    began = time.monotonic()
    machine.begin()
    wait_for(lambda: any(line.host == name for line in stage_runs(running.store).read()), 600, running.said)
    seconds = time.monotonic() - began
    end_first_turn(running, run)
    return seconds


def end_first_turn(running: Cluster, run: str) -> None:
    """Cancels a turn as soon as it waits at its first gate, where no process is left of it."""
    api = running.api()
    wait_for(lambda: (state := api.run(run).state) is not None and state.type == "PAUSED", MOST_SECONDS, running.said)
    api.cancel(run)
    wait_for(lambda: (state := api.run(run).state) is not None and state.type in FINAL, 60, running.said)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recipe", default=STAND_INS, help="a recipe's name, or stand-ins")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--stage-seconds", type=float, default=0.5, help="what an item or a step of a stand-in takes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    stand_ins = arguments.recipe == STAND_INS
    with cluster(lease_seconds=120, stage_seconds=arguments.stage_seconds) as running:
        if not stand_ins:
            running.use_recipe(arguments.recipe)
        running.start_server()
        first_stage = first_stage_seconds(running, "rack-1", "first")
        one = do_turns(running, [f"one-{number}" for number in range(arguments.turns)])
        running.add_worker("rack-2").start()
        two = do_turns(running, [f"two-{number}" for number in range(arguments.turns)])
    hourly = [arguments.turns * 3600 / seconds for seconds in (one, two)]
    rows: list[Row] = [
        {
            "case": "stand_ins" if stand_ins else arguments.recipe,
            "turns": arguments.turns,
            "turns_an_hour_one": hourly[0],
            "turns_an_hour_two": hourly[1],
            "two_against_one": hourly[1] / hourly[0],
            "first_stage_seconds": first_stage,
        }
    ]
    print(write_result("cluster_speed", rows, folder=arguments.results))


if __name__ == "__main__":
    main()
