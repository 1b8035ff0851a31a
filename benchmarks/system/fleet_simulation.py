"""A fleet of 1 000 cards and 50 000 characters, simulated event by event: `python -m benchmarks.system.fleet_simulation`.

How long stages take is read from this program's own result files; what was not measured is an assumption with its reason
(`fleet_facts.py`); both are rows of the result file. Nothing here ran on a fleet: it says what follows from the figures.

Ten cells of 100 cards that share nothing are ten runs of `fleet_cell.py`. One core, less than two minutes.
"""

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.system.fleet_cell import Cell, Plan
from benchmarks.system.fleet_facts import (
    ASSUMED,
    CHECKPOINT_BYTES_A_NUMBER,
    CHECKPOINT_SECONDS,
    LOOK_SECONDS,
    PICTURE_MIB,
    REVIEWER_HOUR,
    STORE_MONTH,
    STORE_PUTS,
    TRAINED_NUMBERS,
    Facts,
    Gate,
    read_facts,
)

CELLS = 10
SEEDS = 4
"""Runs of each row of a sweep."""
LOADS = (0.5, 0.6, 0.7, 0.9, 1.0, 1.1, 1.2)
FAILURES = (0, 4, 16)
DEATH_HOUR, DEATH_HOURS = 34.0, 6.0
"""When a cell dies, counted from the start, and for how long: the hours in which cards are asked for most."""
WATCHED_DAYS = 0.5
NEVER_SECONDS = 1e9
"""No checkpoint that another machine could read: a training begins again there, as with FLENWHEEL_CHECKPOINT_MINUTES=0."""
GATES_WAITING = 1_000_000
T_975 = {3: 3.182, 9: 2.262}
"""Student's t for 95 % intervals, by degrees of freedom."""
WITH_MARGIN = ("interactive_wait_p95_seconds", "nightly_wait_mean_minutes", "nightly_turn_hours", "cards_busy")


def runs_of(plan: Plan, facts: Facts, seeds: int) -> list[dict[str, float]]:
    """The figures of as many runs."""
    rows = [Cell(replace(plan, seed=seed), facts).run() for seed in range(seeds)]
    return [{name: float(value or 0) for name, value in row.items()} for row in rows]


def summary(case: str, runs: Sequence[dict[str, float]]) -> Row:
    """Means over runs, and for what is compared half of the 95 % interval of the mean; the most of what is a most."""
    row: dict[str, str | float] = {"case": case, "runs": len(runs)}
    for name in runs[0]:
        values = [run[name] for run in runs]
        row[name] = max(values) if name.endswith("most_seconds") else statistics.fmean(values)
        if name in WITH_MARGIN:
            row[f"{name}_margin"] = T_975[len(runs) - 1] * statistics.stdev(values) / math.sqrt(len(runs))
    print(row, flush=True)
    return row


def sweeps(facts: Facts) -> list[Row]:
    """All that is simulated. The first row is the fleet."""
    plan = Plan(seed=0)
    cells = runs_of(plan, facts, CELLS)
    rows = [summary("fleet", cells), summary("load_80_percent", cells[:SEEDS])]
    rows += [
        summary(f"load_{load * 100:.0f}_percent", runs_of(replace(plan, load=load), facts, SEEDS)) for load in LOADS
    ]
    rows += [summary(f"failures_x{n}", runs_of(replace(plan, failures=n), facts, SEEDS)) for n in FAILURES]
    local = read_facts(checkpoint_seconds=NEVER_SECONDS)
    rows.append(summary("failures_x16_no_checkpoints", runs_of(replace(plan, failures=16), local, SEEDS)))
    rows.append(summary("half_the_reviewers", runs_of(replace(plan, reviewers=0.5), facts, SEEDS)))
    watched = replace(plan, warm_days=DEATH_HOUR / 24, days=WATCHED_DAYS)
    dead = replace(watched, surge=(DEATH_HOUR, DEATH_HOURS, CELLS / (CELLS - 1)))
    rows.append(summary("all_cells_live", runs_of(watched, facts, SEEDS)))
    rows.append(summary("a_cell_is_dead", runs_of(dead, facts, SEEDS)))
    one = replace(plan, cards=plan.cards * CELLS, characters=plan.characters * CELLS)
    [figures] = runs_of(one, facts, 1)
    return [*rows, {"case": "one_cell_of_1000", "runs": 1, **figures}]


def whole(fleet: Row) -> Row:
    """All cells together."""
    turns = float(fleet["turns_a_day"] or 0) * CELLS
    return {
        "case": "all_cells",
        "cells": CELLS,
        "cards": Plan(seed=0).cards * CELLS,
        "characters": Plan(seed=0).characters * CELLS,
        "turns_a_day": turns,
        "cards_lost_under_a_stage_a_day": float(fleet["cards_lost_under_a_stage"] or 0) * CELLS / Plan(seed=0).days,
        "card_dollars_a_day": turns * float(fleet["card_dollars_a_turn"] or 0),
    }


def saturation(fleet: Row, facts: Facts) -> list[Row]:
    """What is full first. Cards and reviewers by the day, servers by their busiest hour; in proportion to the load."""
    found = {key: float(value) for key, value in fleet.items() if isinstance(value, int | float)}
    server = found["peak_runs_a_second"] / facts.server_runs_per_second
    shares: dict[str, tuple[float | None, str]] = {
        "cards": (found["cards_busy"], "simulated, from measured stages"),
        "reviewers": (found["reviewers_busy"], "assumed time of a look"),
        "prefect_server_a_cell": (server, "measured: SQLite on two cores carried at least so many runs"),
        "prefect_server_for_all": (server * CELLS, "the same server for all 1 000 cards"),
        "studio_process_a_cell": (found["peak_studio_busy"], "measured: medians of one process on two cores"),
        "object_store_a_cell": (found["peak_objects_a_second"] / STORE_PUTS.value, "documented rate of one prefix"),
        "postgres_and_several_servers": (None, "not measured"),
        "bandwidth_of_the_store": (None, "not measured"),
    }
    return [
        {
            "case": f"full {name}",
            "share_used": share,
            "full_at_load": None if share is None else found["load"] / share,
            "known_by": known_by,
        }
        for name, (share, known_by) in shares.items()
    ]


def waiting_gates(facts: Facts) -> Row:
    """What a million open gates hold. By construction: a suspended run has no process and no card."""
    pictures = statistics.fmean(step.pictures for step in facts.later_turn if isinstance(step, Gate))
    stored_tb = GATES_WAITING * pictures * PICTURE_MIB.value * 2**20 / 1e12
    return {
        "case": "a_million_gates",
        "gates": GATES_WAITING,
        "cards_held": 0,
        "processes_held": 0,
        "pictures_terabytes": stored_tb,
        "store_dollars_a_month": stored_tb * 1000 * STORE_MONTH.value,
        "hours_to_look": GATES_WAITING * pictures * LOOK_SECONDS.value / 3600,
        "database_gigabytes": GATES_WAITING * facts.gate_database_bytes / 1e9,
    }


def costs(fleet: Row, facts: Facts) -> list[Row]:
    """What a turn costs, by who is paid."""
    pictures = sum(step.written for step in facts.later_turn if not isinstance(step, Gate))
    checkpoint_gib = TRAINED_NUMBERS.value * CHECKPOINT_BYTES_A_NUMBER.value / 2**30
    stored_gib = pictures * PICTURE_MIB.value / 1024 + checkpoint_gib
    looked = float(fleet["looked_minutes_a_turn"] or 0)
    return [
        {"case": "cost cards", "dollars_a_turn": fleet["card_dollars_a_turn"]},
        {"case": "cost reviewers", "dollars_a_turn": looked / 60 * REVIEWER_HOUR.value},
        {"case": "cost store, a month", "dollars_a_turn": stored_gib * 2**30 / 1e9 * STORE_MONTH.value},
    ]


def inputs(facts: Facts) -> list[Row]:
    """Every figure that went in: read, or assumed and why."""
    read: list[Row] = [
        {"case": f"read {source.file}, {source.case}, {source.figure}", "value": source.value, "basis": "measured"}
        for source in facts.sources
    ]
    assumed: list[Row] = [
        {"case": f"assumed {name}", "value": what.value, "unit": what.unit, "basis": what.reason}
        for name, what in ASSUMED.items()
    ]
    return [*read, *assumed]


def main() -> None:
    """Simulates, and writes results/fleet_simulation.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    facts = read_facts(CHECKPOINT_SECONDS.value)
    rows = sweeps(facts)
    fleet = rows[0]
    rows += [whole(fleet), *saturation(fleet, facts), waiting_gates(facts), *costs(fleet, facts), *inputs(facts)]
    print(write_result("fleet_simulation", rows, folder=arguments.out))


if __name__ == "__main__":
    main()
