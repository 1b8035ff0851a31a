"""The engine against queues whose answers are known, and a cell against what must hold whatever happens in it."""

import json
import math
import random
from dataclasses import replace
from typing import cast

import pytest

from benchmarks.result_file import RESULTS
from benchmarks.system.fleet_cell import Cell, Plan
from benchmarks.system.fleet_engine import Clock, Pool
from benchmarks.system.fleet_facts import DAY_SECONDS, Facts, Stage, read_facts
from benchmarks.system.fleet_simulation import CELLS, inputs, runs_of, saturation, summary

SERVERS, ARRIVALS = 5, 60_000
SMALL = Plan(seed=3, cards=20, characters=1_000, load=0.8, warm_days=0.5, days=1.0)


class Customer:
    """A job of a queue with exponential times."""

    def __init__(self, clock: Clock, priority: int, seconds: float, waits: list[float]) -> None:
        self.priority, self._clock, self._seconds, self._waits = priority, clock, seconds, waits
        self._asked = clock.now

    def begin(self, server: int) -> float:
        self._waits.append(self._clock.now - self._asked)
        return self._seconds

    def end(self) -> None:
        pass

    def lost(self, seconds: float) -> None:
        raise AssertionError("no server goes away here")


def queue(load: float, priorities: int) -> tuple[list[list[float]], Pool, Clock]:
    """Waits by priority in an M/M/c queue: each server does one job a second in the mean."""
    clock, waits = Clock(), [list[float]() for _ in range(priorities)]
    pool = Pool(clock, {"card": SERVERS}, [("card",)] * priorities)
    chance = random.Random(1)

    def arrive(number: int) -> None:
        priority = chance.randrange(priorities)
        pool.ask(Customer(clock, priority, chance.expovariate(1.0), waits[priority]))
        if number < ARRIVALS:
            clock.after(chance.expovariate(load * SERVERS), arrive, number + 1)

    arrive(1)
    clock.run(ARRIVALS / (load * SERVERS) * 2)  # twice the time arrivals take: all are served
    return waits, pool, clock


def erlang_c(load: float) -> float:
    """The share of customers who wait, with `SERVERS` servers (Erlang 1917)."""
    offered = load * SERVERS
    full = offered**SERVERS / math.factorial(SERVERS) / (1 - load)
    return full / (sum(offered**n / math.factorial(n) for n in range(SERVERS)) + full)


def test_the_queue_with_known_answer() -> None:
    """Erlang's wait, and how many wait at all."""
    [waits], _, _ = queue(0.8, 1)
    assert sum(waits) / len(waits) == pytest.approx(erlang_c(0.8) / (SERVERS * 0.2), rel=0.07)
    assert sum(wait > 0 for wait in waits) / len(waits) == pytest.approx(erlang_c(0.8), rel=0.04)


def test_priorities_wait_as_theory_says() -> None:
    """Two priorities, nobody pushed out (Cobham 1954): half of the load is of each."""
    load = 0.8
    [first, second], _, _ = queue(load, 2)
    base = erlang_c(load) / SERVERS
    assert sum(first) / len(first) == pytest.approx(base / (1 - load / 2), rel=0.07)
    assert sum(second) / len(second) == pytest.approx(base / ((1 - load / 2) * (1 - load)), rel=0.1)


def test_littles_law_for_the_engine() -> None:
    """The number that wait, taken over time, against arrivals times their waits, which are counted apart."""
    waits, pool, _ = queue(0.8, 2)
    assert sum(map(len, waits)) == ARRIVALS and pool.queued == pool.at_work == 0
    assert pool.queued_until_now() == pytest.approx(sum(map(sum, waits)), rel=1e-9)
    assert pool.busy_seconds == pytest.approx(ARRIVALS, rel=0.02)


@pytest.fixture(scope="module")
def facts() -> Facts:
    return read_facts()


def test_littles_law_for_a_cell(facts: Facts) -> None:
    """Here jobs wait at both ends of the measured days, so it holds but for those."""
    found = cast(dict[str, float], Cell(replace(SMALL, load=0.7, days=6.0), facts).run())
    assert found["queue_length"] > 0.5
    assert found["queue_length"] == pytest.approx(found["starts_times_wait"], rel=0.05)


@pytest.mark.parametrize("failures", [0, 1, 30])
def test_no_stage_is_lost_and_none_is_done_twice(facts: Facts, failures: float) -> None:
    """When nobody begins turns any more, all that were begun end, each stage once, however many machines go."""
    cell = Cell(replace(SMALL, failures=failures), facts)
    cell.run()
    lost = len(cell.account.lost_work)
    assert (lost == 0) == (failures == 0)
    cell.closed_doors = True
    cell.clock.run(12 * DAY_SECONDS)
    assert cell.turns_begun > 500
    assert not cell.open and cell.pool.queued == cell.pool.at_work == 0
    assert cell.stages_ended == cell.stages_of_ended_turns
    assert cell.pool.busy_seconds >= cell.account.ended_seconds


def test_card_time_is_the_stages_and_nothing_else(facts: Facts) -> None:
    """Without failures cards have worked exactly what the stages take: gates held none of it."""
    cell = Cell(replace(SMALL, failures=0, warm_days=0.0), facts)
    cell.run()
    cell.closed_doors = True
    cell.clock.run(12 * DAY_SECONDS)
    assert cell.account.gate_waits and not cell.open
    assert cell.pool.busy_until_now() == pytest.approx(cell.account.ended_seconds, rel=1e-9)


def test_a_lost_card_costs_at_most_what_lies_between_checkpoints(facts: Facts) -> None:
    found = Cell(replace(SMALL, failures=30), facts).run()
    assert 0 < cast(float, found["lost_training_most_seconds"]) <= 300
    whole = Cell(replace(SMALL, failures=30), read_facts(checkpoint_seconds=1e9)).run()
    assert cast(float, whole["lost_training_most_seconds"]) > 300


def test_the_same_seed_gives_the_same_run(facts: Facts) -> None:
    plan = replace(SMALL, failures=10)
    assert Cell(plan, facts).run() == Cell(plan, facts).run()
    assert Cell(plan, facts).run() != Cell(replace(plan, seed=4), facts).run()


def test_figures_are_those_of_the_result_files(facts: Facts) -> None:
    """Read by the code: what a stage takes is what the rehearsal's file says today."""
    read = {(source.file, source.case, source.figure): source.value for source in facts.sources}
    enrich = next(step for step in facts.later_turn if isinstance(step, Stage) and step.name == "enrich")
    assert enrich.start_seconds == read["dress_rehearsal", "enrich_24gib", "first_item_seconds"]
    assert enrich.work_seconds == pytest.approx(49 * read["dress_rehearsal", "enrich_24gib", "item_seconds"])
    assert {source.file for source in facts.sources} >= {
        "dress_rehearsal",
        "orchestration",
        "studio",
        "server_answers",
        "saving",
    }


def test_the_result_that_is_kept_was_simulated_with_the_figures_of_today(facts: Facts) -> None:
    """If it fails, a file was measured anew, or an assumption changed: `python -m benchmarks.system.fleet_simulation`, then the pages."""
    rows = json.loads((RESULTS / "fleet_simulation.json").read_text())["rows"]
    went_in = {row["case"]: row["value"] for row in rows if row["case"].startswith(("read ", "assumed "))}
    assert went_in == {row["case"]: pytest.approx(row["value"], rel=1e-4) for row in inputs(facts)}


def test_what_is_full_first_is_named_and_what_was_not_measured_too(facts: Facts) -> None:
    fleet = summary("fleet", runs_of(SMALL, facts, 4))
    rows = {row["case"]: row for row in saturation(fleet, facts)}
    assert rows["full postgres_and_several_servers"]["share_used"] is None
    a_cell, all_cells = (rows[f"full prefect_server_{name}"]["share_used"] for name in ("a_cell", "for_all"))
    assert all_cells == pytest.approx(cast(float, a_cell) * CELLS)


def test_what_a_lost_server_was_to_end_does_not_end_its_next_job() -> None:
    """It goes after a second, is back after two, and its next job has all of its time."""
    clock, ended = Clock(), list[float]()
    pool = Pool(clock, {"card": 1}, [("card",)])

    class Ten:
        priority = 0

        def begin(self, server: int) -> float:
            return 10.0

        def end(self) -> None:
            ended.append(clock.now)

        def lost(self, seconds: float) -> None:
            pool.ask(self, first=True)

    pool.ask(Ten())
    clock.after(1.0, pool.take_away, 0)
    clock.after(2.0, pool.bring, 0)
    clock.run(100.0)
    assert ended == [12.0] and pool.busy_seconds == 11.0
