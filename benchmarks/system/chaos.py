"""Kills a random process of the system at random instants, and shows that turns end all the same, with the same results.

    python -m benchmarks.system.chaos --kills 200

Real server, worker, studio, flow runs and stage processes; the stages themselves are stand-ins that compute next to nothing. Two
characters' turns run at once. The first pair is left alone: what it makes, every other pair must make, byte for byte.
"""

import argparse
import os
import random
import signal
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.kit.workspace import FINAL, Running, overlaps, write_recipe
from benchmarks.result_file import RESULTS, Row, write_result
from deployments.prefect.gates import resume_gate, waiting_runs
from deployments.workspace.reconciler import reconcile
from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.gates.session import Reviews
from flenwheel_core.runner.flow_run import run_processes

NAMES = ("mira", "nora")
"""Their turns are scheduled at the same time, so that they compete for the one GPU slot."""
TARGETS = ("server", "worker", "run", "stage", "studio", "up")
TURN_SECONDS = 1800.0
STAGE_SECONDS = 0.2
"""What an item or a step of a stand-in stage takes: long enough to be killed in the middle of."""


@dataclass
class Tally:
    """What was found."""

    kills: Counter[str] = field(default_factory=Counter)
    turns: int = 0
    lost_decisions: int = 0
    stage_overlaps: int = 0
    result_mismatches: int = 0
    leaked_slots: int = 0
    retries: int = 0


OF_THE_CRITIC = ("stages/critic_train/", "stages/critic_score/")


class Chaos:
    """Pairs of turns, each pair in a fresh store, with kills."""

    def __init__(self, running: Running, seed: int, mean_seconds: float) -> None:
        self.running = running
        self.random = random.Random(seed)
        self.mean_seconds = mean_seconds
        self.tally = Tally()
        self.expected: dict[str, str] = {}
        self.decided: set[str] = set()
        self.stage_kills: dict[int, datetime] = {}

    def turns(self, kills: int) -> None:
        """A turn of each character with up to so many kills, checked at the end."""
        self.decided, self.stage_kills = set(), {}
        for name in NAMES:
            self.running.add_character(name)
        runs = {self._patiently(partial(self.running.schedule, name)) for name in NAMES}
        end = time.monotonic() + TURN_SECONDS
        due = time.monotonic() + self._wait()
        while True:
            if time.monotonic() > end:
                raise SystemExit(
                    f"the turns did not end: {self.running.log.read_text()[-2000:]}{self.running.worker_log()}"
                )
            if kills and time.monotonic() >= due:
                kills -= self._kill()
                due = time.monotonic() + self._wait()
            try:
                runs -= {run for run in runs if self._step(run)}
                if not runs:
                    break
            except FlenwheelError:
                pass  # the server is away; it comes back
            time.sleep(0.2)
        self._check()

    def _patiently(self, action: Callable[[], str]) -> str:
        while True:
            try:
                return action()
            except FlenwheelError:
                time.sleep(0.5)

    def _wait(self) -> float:
        return self.random.expovariate(1 / self.mean_seconds)

    def _step(self, run: str) -> bool:
        """What a person and time would do: answer gates, retry what crashed. True when the turn is complete."""
        api, settings = self.running.api, self.running.settings
        reconcile(api, settings, running_grace_seconds=3, pending_grace_seconds=12)
        state = api.run(run).state
        if state is None:
            return False
        if state.type == "COMPLETED":
            return True
        if state.type in FINAL:
            self.tally.retries += 1
            api.retry(run, force=self.random.random() < 0.5)
        for gate, waiting in waiting_runs(api).items():
            self._answer(gate, waiting.id)
        return False

    def _answer(self, gate: str, run: str) -> None:
        """Decides picture by picture, in a fixed way, then answers; a kill may come at any point of it."""
        reviews = Reviews(self.running.store)
        if reviews.closed(gate) is None:
            for number, record in enumerate(reviews.images(reviews.get(gate))):
                line = Decision(
                    id=f"{gate}-{number}",
                    at=datetime.now(UTC),
                    author="chaos",
                    image=record.digest,
                    verdict=Verdict.REJECT if number % 5 == 4 else Verdict.GOOD,
                )
                reviews.decide(gate, line)
                self.decided.add(line.id)
        closed = reviews.close(gate, "approve", "leave_out", override_minimum=True, reviewer="chaos")
        resume_gate(self.running.api, run, closed)

    def _kill(self) -> int:
        """SIGKILL for one process of a random kind of those that run right now; 0 if it ended by itself first."""
        alive = {kind: found for kind in TARGETS if (found := self._processes(kind))}
        if not alive:
            return 0
        kind = self.random.choice(sorted(alive))
        target = self.random.choice(alive[kind])
        try:
            os.kill(target, signal.SIGKILL)
        except ProcessLookupError:
            return 0
        if kind == "stage":
            self.stage_kills[target] = datetime.now(UTC)
        self.tally.kills[kind] += 1
        if kind == "up":
            assert self.running.process is not None
            self.running.process.wait()
            self.running.start()
        return 1

    def _processes(self, kind: str) -> list[int]:
        if kind == "up":
            assert self.running.process is not None
            return [self.running.process.pid] if self.random.random() < 0.3 else []
        if kind == "run":
            return list(run_processes(self.running.settings).values())
        if kind == "stage":
            return stage_processes(self.running.settings.root)
        found = self.running.service_pids().get(kind)
        return [found] if found is not None else []

    def _check(self) -> None:
        """Compares the turns with the first ones, counts what is wrong, and puts its store away."""
        store, tally = self.running.store, self.tally
        tally.turns += len(NAMES)
        lines = {line.id for gate in Reviews(store).gates() for line in Reviews(store).journal(gate).read()}
        tally.lost_decisions += len(self.decided - lines)
        tally.stage_overlaps += len(overlaps(self.running.stage_runs(), self.stage_kills))
        results = {
            path: store.files.read(path).decode()
            for path in store.files.list("stages")
            # What the critic knows when a gate opens depends on which turn's gates were closed before: it orders pictures, no more.
            if path.endswith("manifest.json") and not path.startswith(OF_THE_CRITIC)
        }
        if not self.expected:
            self.expected = results
        tally.result_mismatches += len(set(results.items()) ^ set(self.expected.items()))
        local = store.files.local
        assert local is not None
        local.rename(local.with_name(f"store-{uuid.uuid4().hex}"))

    def count_leaked_slots(self) -> None:
        """Slots still taken although nothing runs any more."""
        reconcile(self.running.api, self.running.settings, running_grace_seconds=0, pending_grace_seconds=0)
        self.tally.leaked_slots = sum(limit.active_slots for limit in self.running.api.limits())


def stage_processes(workspace: Path) -> list[int]:
    """Process ids of the stages of a workspace."""
    mark = os.fsencode(workspace / "stage-")
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def run_chaos(
    kills: int,
    *,
    seed: int,
    mean_seconds: float,
    kills_a_pair: int,
    minutes: float,
    say: Callable[[str], None],
    import_ahead: bool = True,
) -> Tally:
    """So many kills, over as many turns as it takes; no turn begins after so many minutes. Without `import_ahead` stages are not forked
    from a process that has imported what they need, which the stand-ins do not: ten seconds of a core for each run that is begun.
    """
    end = time.monotonic() + minutes * 60
    with tempfile.TemporaryDirectory(prefix="flenwheel-chaos-") as place:
        folder = Path(place)
        settings = Settings(
            workspace=folder / "workspace",
            gpu="cpu",
            author="chaos",
            stage_modules=("benchmarks.kit.turn_stages",),
            models=folder / "models",
            import_ahead=import_ahead,
        )
        running = Running(settings, write_recipe(folder, steps=30), stage_seconds=STAGE_SECONDS)
        running.patience_seconds = 0.5
        running.start()
        chaos = Chaos(running, seed, mean_seconds)
        try:
            chaos.turns(0)
            while (done := sum(chaos.tally.kills.values())) < kills and time.monotonic() < end:
                chaos.turns(min(kills_a_pair, kills - done))
                say(f"{sum(chaos.tally.kills.values())} kills: {dict(chaos.tally.kills)}; {chaos.tally}")
            chaos.count_leaked_slots()
        finally:
            running.stop()
        return chaos.tally


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mean-seconds", type=float, default=2.5, help="mean time between kills")
    parser.add_argument("--kills-a-pair", type=int, default=25)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no turn after this long")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    began = time.monotonic()
    tally = run_chaos(
        arguments.kills,
        seed=arguments.seed,
        mean_seconds=arguments.mean_seconds,
        kills_a_pair=arguments.kills_a_pair,
        minutes=arguments.minutes,
        say=lambda line: print(line, flush=True),
    )
    row: Row = {
        "case": "kill_anything",
        "kills": sum(tally.kills.values()),
        "turns": tally.turns,
        "retries": tally.retries,
        "lost_decisions": tally.lost_decisions,
        "stage_overlaps": tally.stage_overlaps,
        "result_mismatches": tally.result_mismatches,
        "leaked_slots": tally.leaked_slots,
        "seconds": time.monotonic() - began,
    }
    by_kind: Row = {f"kills_of_{kind}": number for kind, number in sorted(tally.kills.items())}
    print(write_result("chaos", [{**row, **by_kind}], folder=arguments.results))


if __name__ == "__main__":
    main()
