"""Training on several cards of this machine: one process a card (`train_member`), started by the stage's own process.

They find each other as processes of `torchrun` do, by RANK, WORLD_SIZE and MASTER_PORT.
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flenwheel_core.base.errors import FlenwheelError, InterruptedStageError, ResourceError
from flenwheel_core.base.given_settings import AUTO, CPU
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.slots import cards_for
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.launch import STOP_SECONDS, child_environment, error_of
from flenwheel_core.runner.meeting import interface_to, open_table
from flenwheel_core.runner.stage import StageContext

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing import PContext
    from torch.distributed.elastic.multiprocessing.api import RunProcsResult
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

LOOK_SECONDS = 0.2
LOST_SECONDS = 5.0
"""Processes whose others are lost mostly notice it by themselves; after so long they are ended."""
LAUNCHER_HANDLES = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
STOP_FILE = "stop"
"""Tells the processes, beside their request, to save and end."""


@dataclass(frozen=True)
class Seats:
    """Where the processes of this machine sit among those of all, and where they find the others."""

    address: str = "127.0.0.1"
    port: int = 0
    place: int = 0
    machines: int = 1

    def interface(self) -> str | None:
        """The network interface to talk through; None: torch's choice."""
        return "lo" if self.machines == 1 else interface_to(self.address)


Lost = Callable[[], FlenwheelError | None]
"""Why the others are lost, once they are."""


def train_in_team(request: TrainRequest, context: StageContext) -> TrainResult:
    """Start a process for each card and wait for their result.

    Raises ResourceError if there are fewer cards than the recipe wants, and what the processes raised.
    """
    table = open_table(machines=1)
    return TrainResult.from_bytes(
        run_team(request, context, Seats(port=table.port)).read_bytes(), where="the result of training"
    )


def run_team(request: TrainRequest, context: StageContext, seats: Seats, lost: Lost = lambda: None) -> Path:
    """Runs this machine's processes to their end; the file of the first one's result. Raises what they raised, or why others are lost."""
    cards = _cards(request.recipe.gpus, context.settings)
    folder = context.scratch / "team"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STOP_FILE).unlink(missing_ok=True)
    request_file = folder / "request.json"
    request_file.write_bytes(request.to_bytes())
    results = [folder / f"result-{rank}.json" for rank in range(len(cards))]
    for result in results:
        result.unlink(missing_ok=True)
    team = _start(request_file, results, cards, seats, context)
    try:
        ended = _follow(team, context, lost)
    finally:
        team.close(signal.SIGKILL)
    if not ended.is_failed():
        return results[0]
    failed = _first_failure(ended, results)
    raise error_of("train", failed.exitcode, results[failed.local_rank], "")


def _cards(count: int, settings: Settings) -> list[str | None]:
    """Names of the cards for CUDA_VISIBLE_DEVICES, those whose slots this stage holds; None for processes on the CPU."""
    if settings.gpu == CPU:
        return [None] * count
    cards = cards_for(settings, count)
    if settings.gpu == AUTO:
        import torch

        seen = torch.cuda.device_count()
        if seen < count:
            raise ResourceError(
                f"train.gpus asks for {count} cards and this stage sees {seen}.", remedy="Lower train.gpus."
            )
    return list(cards)


def _start(
    request: Path, results: list[Path], cards: list[str | None], seats: Seats, context: StageContext
) -> "PContext":
    """A process a card, started and watched by torch's own launcher, the one beneath `torchrun`."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

    common = child_environment(context.settings, os.environ.get("FLENWHEEL_FLOW_RUN"))
    common |= {"WORLD_SIZE": str(len(cards) * seats.machines), "LOCAL_RANK": "0"}
    # They meet at the table of the leading process, which has its port already: no other program can take it in between.
    common |= {"MASTER_ADDR": seats.address, "MASTER_PORT": str(seats.port)}
    common |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    interface = seats.interface()
    if interface is not None and (cards[0] is None or seats.machines > 1):
        common.setdefault("GLOO_SOCKET_IFNAME" if cards[0] is None else "NCCL_SOCKET_IFNAME", interface)
    arguments, environments = {}, {}
    for rank, card in enumerate(cards):
        # Each process sees its own card only, so that everything in it may call it the first.
        own = {"RANK": str(seats.place * len(cards) + rank), "CUDA_VISIBLE_DEVICES": card or ""}
        environments[rank] = common | own
        files = (request, results[rank], context.scratch)
        arguments[rank] = ("-m", "flenwheel_core.stages.train_member", *map(str, files), str(context.memory_level))
    with _own_signals():
        return start_processes("train", sys.executable, arguments, environments, logs_specs=DefaultLogsSpecs())


@contextmanager
def _own_signals() -> Iterator[None]:
    """The launcher would make a stop an exception in the midst of things; the worker's handlers let a training save."""
    kept = {which: signal.getsignal(which) for which in LAUNCHER_HANDLES}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for which, handler in kept.items():
                signal.signal(which, handler)


def _follow(team: "PContext", context: StageContext, lost: Lost) -> "RunProcsResult":
    """Until all have ended, or one failed and took the others with it. A stop is told through a file, so that all save."""
    ends_at: float | None = None
    why: FlenwheelError | None = None
    while (ended := team.wait(timeout=LOOK_SECONDS, period=LOOK_SECONDS)) is None:
        if context.stop.is_set() and ends_at is None:
            (context.scratch / "team" / STOP_FILE).touch()
            ends_at = time.monotonic() + STOP_SECONDS
        if why is None and (why := lost()) is not None:
            # They lose the others, too, or are told to stop as those were: then the first one saves.
            seconds = STOP_SECONDS if isinstance(why, InterruptedStageError) else LOST_SECONDS
            ends_at = min(ends_at or math.inf, time.monotonic() + seconds)
        if ends_at is not None and time.monotonic() > ends_at:
            raise why or InterruptedStageError(
                "Training was stopped before it could save.", remedy="Start it again: it goes on from its checkpoint."
            )
    return ended


def _first_failure(ended: "RunProcsResult", results: list[Path]) -> "ProcessFailure":
    """The one that knows why: the others fail because it is gone. One that was killed leaves no message."""

    def order(failure: "ProcessFailure") -> tuple[int, bool, float]:
        killed = failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM
        said = results[failure.local_rank]
        return failure.timestamp, not killed, said.stat().st_mtime if said.exists() else math.inf

    return min(ended.failures.values(), key=order)
