"""Kills, cuts off and stops parts of a cluster at random instants, and shows that turns end all the same, with the same results.

    python -m benchmarks.system.cluster_chaos --events 200

Two machines that work, a studio, two API servers and the background services behind gateways, real Postgres, Redis and the S3 protocol
(moto). The stages are stand-ins that compute next to nothing; they run in the real worker process and keep their state as the real ones do.
Two characters' turns run at once. The first pair is left alone: what it makes, every other pair must make, byte for byte. Decisions are
sent to the studio over HTTP, and count as given once it answered.
"""

import argparse
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import cast

import httpx

from benchmarks.kit.cluster import Cluster, Machine, cluster
from benchmarks.kit.turn_stages import WALKED
from benchmarks.kit.workspace import FINAL, overlaps, wait_for
from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.system.chaos import OF_THE_CRITIC
from deployments.prefect.gates import waiting_runs
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.services import load_services
from flenwheel_core.gates.session import Reviews
from flenwheel_core.runner.stage_runs import StageRun, stage_runs

NAMES = ("mira", "nora")
EVENTS = (
    *("worker", "run", "stage", "api server", "services", "studio", "redis", "postgres") * 2,
    *("power cut", "standstill", "partition"),
)
"""What may happen; the last three take longer, and are drawn half as often."""
LEASE_SECONDS = 8.0
TURN_SECONDS = 1200.0
STAGE_SECONDS = 0.15
BEYOND_LEASE_SECONDS = 2.5 * LEASE_SECONDS
MARKS = {
    "worker": b"worker\0start",
    "run": b"deployments.prefect.engine",
    "api server": b"deployments.prefect.server",
    "services": b"server\0services",
    "studio": b"deployments.studio.serve",
    "stage": b"/stage-",
}


@dataclass
class Tally:
    """What was found."""

    events: Counter[str] = field(default_factory=Counter)
    turns: int = 0
    decisions: int = 0
    lost_decisions: int = 0
    slot_overlaps: int = 0
    result_mismatches: int = 0
    leaked_slots: int = 0
    retries: int = 0
    moved_trainings: int = 0
    most_lost_seconds: float = 0.0
    """Of a training that went on on another machine: what had been done since the state it went on from."""


class ClusterChaos:
    """Pairs of turns, each pair in an empty store, with events."""

    def __init__(self, running: Cluster, seed: int, mean_seconds: float) -> None:
        self.running = running
        self.random = random.Random(seed)
        self.mean_seconds = mean_seconds
        self.tally = Tally()
        self.expected: dict[str, str] = {}
        self.decided: set[str] = set()
        self.ended: dict[int, datetime] = {}
        """Stage processes that were killed, or stood still: when."""
        self.due: list[tuple[float, Callable[[], None]]] = []
        """What ends by itself: when, and how."""

    def turns(self, events: int) -> None:
        """A turn of each character with up to so many events, checked at the end."""
        self.decided, self.ended = set(), {}
        for name in NAMES:
            self.running.add_character(name)
        runs = {self._started(name) for name in NAMES}
        end = time.monotonic() + TURN_SECONDS
        due = time.monotonic() + self._wait()
        while runs:
            if time.monotonic() > end:
                raise SystemExit(f"the turns did not end: {runs}\n{self.running.said()}")
            self._heal()
            if events and time.monotonic() >= due:
                events -= self._event()
                due = time.monotonic() + self._wait()
            with suppress(FlenwheelError, httpx.HTTPError):
                runs -= {run for run in runs if self._step(run)}
            time.sleep(0.2)
        self._heal(all_of_it=True)
        self._check()

    def _started(self, name: str) -> str:
        while True:
            with suppress(FlenwheelError):
                key = f"{name} {self.tally.turns}"
                return self.running.api(2).start("flywheel-1/turn", {"character": name}, idempotency_key=key).id
            time.sleep(0.5)

    def _wait(self) -> float:
        return self.random.expovariate(1 / self.mean_seconds)

    # what people do

    def _step(self, run: str) -> bool:
        """Answers gates, and retries what crashed. True when the turn is complete."""
        api = self.running.api(2)
        state = api.run(run).state
        if state is None:
            return False
        if state.type == "COMPLETED":
            return True
        if state.type in FINAL:
            self.tally.retries += 1
            api.retry(run, force=self.random.random() < 0.5)
        for gate in waiting_runs(api):
            self._answer(gate)
        return False

    def _answer(self, gate: str) -> None:
        """Picture by picture, in a fixed way, then the answer; an event may come at any point of it."""
        assert self.running.studio is not None
        services = load_services(self.running.studio.settings)
        if services is None or services.studio_url is None:
            return
        with httpx.Client(base_url=f"{services.studio_url}/api/v1", timeout=10) as studio:
            studio.headers["x-csrf-token"] = studio.get("/session").json()["csrf"]
            reviews = Reviews(self.running.store)
            if reviews.closed(gate) is None:
                for number, record in enumerate(reviews.images(reviews.get(gate))):
                    self._decide(studio, gate, record.digest, number)
                body = {"author": "chaos", "verdict": "approve", "undecided": "leave_out", "override_minimum": True}
                studio.post(f"/gates/{gate}/finish", json=body).raise_for_status()
            else:
                studio.post(f"/gates/{gate}/resume").raise_for_status()

    def _decide(self, studio: httpx.Client, gate: str, image: str, number: int) -> None:
        id_ = f"{gate}-{number}"
        if id_ in self.decided:
            return
        verdict = "reject" if number % 5 == 4 else "good"
        body = {"id": id_, "author": "chaos", "verdict": verdict}
        studio.post(f"/gates/{gate}/pictures/{image}/decision", json=body).raise_for_status()
        self.decided.add(id_)
        self.tally.decisions += 1

    # what happens to them

    def _event(self) -> int:
        """One event of a random kind, at random; 0 if there is nothing that it could befall."""
        kind = self.random.choice(EVENTS)
        happened = {
            "redis": self._redis,
            "postgres": self._postgres,
            "power cut": self._power_cut,
            "standstill": self._standstill,
            "partition": self._partition,
        }.get(kind, lambda: self._kill(kind))()
        if happened:
            self.tally.events[kind] += 1
        return int(happened)

    def _kill(self, kind: str) -> bool:
        found = [pid for machine in self.running.machines() for pid in machine.processes() if _is(pid, MARKS[kind])]
        if not found:
            return False
        target = self.random.choice(sorted(found))
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:
            return False
        if kind == "stage":
            self.ended[target] = datetime.now(UTC)
        return True

    def _redis(self) -> bool:
        self.running.redis.kill()
        self._later(self.random.uniform(0, 3), self.running.redis.start)
        return True

    def _postgres(self) -> bool:
        self.running.postgres.kill()
        self._later(self.random.uniform(0, 3), self.running.postgres.start)
        return True

    def _power_cut(self) -> bool:
        machine = self._worker()
        if machine is None:
            return False
        self._stages_end(machine)
        machine.cut_power()
        self._later(BEYOND_LEASE_SECONDS * self.random.choice((0.2, 1)), machine.begin)
        return True

    def _standstill(self) -> bool:
        """A machine that stops for longer than its lease, and then goes on as if nothing had been."""
        machine = self._worker()
        if machine is None:
            return False
        machine.signal(signal.SIGSTOP)
        self._later(BEYOND_LEASE_SECONDS, lambda: machine.signal(signal.SIGCONT))
        return True

    def _partition(self) -> bool:
        """The machine works on; only the server does not hear of it for longer than the lease."""
        machine = self._worker()
        if machine is None or machine.gateway is None:
            return False
        machine.gateway.cut()
        self._later(BEYOND_LEASE_SECONDS, machine.gateway.mend)
        return True

    def _worker(self) -> Machine | None:
        """One of the machines that work; one at a time is away, so that somebody is there to go on."""
        services = (self.running.redis.start, self.running.postgres.start)
        if any(act not in services for _, act in self.due):
            return None
        return self.random.choice(self.running.workers)

    def _stages_end(self, machine: Machine) -> None:
        for pid in machine.processes():
            if _is(pid, MARKS["stage"]):
                self.ended[pid] = datetime.now(UTC)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self.due.append((time.monotonic() + seconds, act))

    def _heal(self, *, all_of_it: bool = False) -> None:
        now = time.monotonic()
        ripe = [entry for entry in self.due if all_of_it or entry[0] <= now]
        self.due = [entry for entry in self.due if entry not in ripe]
        for _, act in ripe:
            act()
        for machine in self.running.machines():
            if machine.process is not None and machine.process.poll() is not None and not self.due:
                machine.begin()

    # what came of it

    def _check(self) -> None:
        store, tally = self.running.store, self.tally
        tally.turns += len(NAMES)
        reviews = Reviews(store)
        lines = {line.id for gate in reviews.gates() for line in reviews.journal(gate).read()}
        frozen = {
            decision.image
            for gate in reviews.gates()
            if (closed := reviews.closed(gate)) is not None
            for decision in reviews.decisions(closed).decisions
        }
        decided = {line.image for gate in reviews.gates() for line in reviews.journal(gate).read()}
        tally.lost_decisions += len(self.decided - lines) + len(decided - frozen)
        runs = list(stage_runs(store).read())
        for slot in {slot for run in runs for slot in run.slots}:
            tally.slot_overlaps += len(overlaps([run for run in runs if slot in run.slots], self.ended))
        self._moved(runs)
        results = {
            path: store.files.read(path).decode()
            for path in store.files.list("stages")
            if path.endswith("manifest.json") and not path.startswith(OF_THE_CRITIC)
        }
        self.expected = self.expected or results
        tally.result_mismatches += len(set(results.items()) ^ set(self.expected.items()))
        self.running.empty_store()

    def _moved(self, runs: list[StageRun]) -> None:
        """How far trainings were set back that went on on another machine."""
        walks: dict[str, list[tuple[float, str, int, str]]] = {}
        for machine in self.running.workers:
            for path in machine.settings.scratch.glob(f"train/*/{WALKED}"):
                for line in path.read_text().splitlines():
                    with suppress(ValueError):
                        seen = cast("dict[str, float]", json.loads(line))
                        walks.setdefault(path.parent.name, []).append(
                            (seen["at"], machine.name, int(seen["step"]), str(seen["what"]))
                        )
        for walk in walks.values():
            walk.sort()
            for before, after in pairwise(walk):
                if after[3] == "begins" and before[1] != after[1]:
                    self.tally.moved_trainings += 1
                    lost = (before[2] - after[2]) * STAGE_SECONDS
                    self.tally.most_lost_seconds = max(self.tally.most_lost_seconds, round(lost, 2))

    def count_leaked_slots(self) -> None:
        """Slots still taken, longer than a lease after everything ended."""

        def free() -> bool:
            self.tally.leaked_slots = sum(limit.active_slots for limit in self.running.api().limits())
            return self.tally.leaked_slots == 0

        with suppress(AssertionError):
            wait_for(free, 150, lambda: "slots are still taken")


def _is(pid: int, mark: bytes) -> bool:
    try:
        command = (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False
    return mark in command


def start_cluster(running: Cluster) -> None:
    """Everything, until it is ready."""
    running.start_server()
    for name in ("rack-1", "rack-2"):
        running.add_worker(name).begin()
    running.add_studio().begin()
    for machine in running.machines():
        wait_for(lambda machine=machine: b"Ready." in machine.log.read_bytes(), 300, running.said)  # type: ignore[misc]


def run_chaos(
    running: Cluster,
    events: int,
    *,
    seed: int,
    mean_seconds: float,
    events_a_pair: int,
    minutes: float,
    say: Callable[[str], None],
) -> Tally:
    """So many events, over as many turns as it takes; no turn begins after so many minutes."""
    end = time.monotonic() + minutes * 60
    chaos = ClusterChaos(running, seed, mean_seconds)
    chaos.turns(0)
    say(f"undisturbed: {len(chaos.expected)} results")
    while (done := sum(chaos.tally.events.values())) < events and time.monotonic() < end:
        chaos.turns(min(events_a_pair, events - done))
        say(f"{sum(chaos.tally.events.values())} events: {chaos.tally}")
    chaos.count_leaked_slots()
    return chaos.tally


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--events", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mean-seconds", type=float, default=4.0, help="mean time between events")
    parser.add_argument("--events-a-pair", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no turn after this long")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    began = time.monotonic()
    with cluster(lease_seconds=LEASE_SECONDS, stage_seconds=STAGE_SECONDS) as running:
        start_cluster(running)
        checkpoint_seconds = running.workers[0].settings.checkpoint_seconds
        tally = run_chaos(
            running,
            arguments.events,
            seed=arguments.seed,
            mean_seconds=arguments.mean_seconds,
            events_a_pair=arguments.events_a_pair,
            minutes=arguments.minutes,
            say=lambda line: print(line, flush=True),
        )
    row: Row = {
        "case": "two_machines",
        "events": sum(tally.events.values()),
        "turns": tally.turns,
        "retries": tally.retries,
        "decisions": tally.decisions,
        "lost_decisions": tally.lost_decisions,
        "slot_overlaps": tally.slot_overlaps,
        "result_mismatches": tally.result_mismatches,
        "leaked_slots": tally.leaked_slots,
        "moved_trainings": tally.moved_trainings,
        "most_lost_seconds": tally.most_lost_seconds,
        "checkpoint_seconds": checkpoint_seconds or 0.0,
        "lease_seconds": LEASE_SECONDS,
        "seconds": time.monotonic() - began,
    }
    kinds: Row = {f"events_{kind.replace(' ', '_')}": number for kind, number in sorted(tally.events.items())}
    print(write_result("cluster_chaos", [{**row, **kinds}], folder=arguments.results))


if __name__ == "__main__":
    main()
