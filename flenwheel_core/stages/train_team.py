"""Training on several cards of this machine: one process a card (`train_member`), started by the stage's own process.

They find each other as processes of `accelerate launch` do, by RANK, WORLD_SIZE and MASTER_PORT.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flenwheel_core.base.errors import EXIT_DONE, InterruptedStageError, ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.launch import STOP_SECONDS, child_environment, error_of
from flenwheel_core.runner.stage import StageContext

STOP_FILE = "stop"
"""Tells the processes, beside their request, to save and end."""


def train_in_team(request: TrainRequest, context: StageContext) -> TrainResult:
    """Start a process for each card and wait for their result.

    Raises ResourceError if there are fewer cards than the recipe wants, and what the processes raised.
    """
    cards = _cards(request.recipe.gpus, context.settings)
    folder = context.scratch / "team"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STOP_FILE).unlink(missing_ok=True)
    request_file = folder / "request.json"
    request_file.write_bytes(request.to_bytes())
    results = [folder / f"result-{rank}.json" for rank in range(len(cards))]
    for result in results:
        result.unlink(missing_ok=True)
    with _processes(request_file, results, cards, context) as processes:
        _follow(processes, context)
    code = processes[0].returncode
    if code == EXIT_DONE:
        return TrainResult.from_bytes(results[0].read_bytes(), where="the result of training")
    failed = next((rank for rank, process in enumerate(processes) if results[rank].exists() and process.returncode), 0)
    raise error_of("train", processes[failed].returncode, results[failed], "")


def _cards(count: int, settings: Settings) -> list[str | None]:
    """Names of the cards for CUDA_VISIBLE_DEVICES; None for processes on the CPU."""
    if settings.gpu == "cpu":
        return [None] * count
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = named.split(",") if named else [str(index) for index in range(torch.cuda.device_count())]
    if len(cards) < count:
        raise ResourceError(
            f"train.gpus asks for {count} cards and this stage sees {len(cards)}.",
            why=f"The setting gpu is {settings.gpu!r}.",
            remedy="Lower train.gpus, or name the cards: FLENWHEEL_GPU=0,1.",
        )
    return list(cards[:count])


@contextmanager
def _processes(
    request: Path, results: list[Path], cards: list[str | None], context: StageContext
) -> Iterator[list[subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for rank, card in enumerate(cards):
            environment = child_environment(context.settings, os.environ.get("FLENWHEEL_FLOW_RUN"))
            environment |= {"RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": str(len(cards))}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            # Each process sees its own card only, so that everything in it may call it the first.
            environment["CUDA_VISIBLE_DEVICES"] = card or ""
            if card is None:
                environment["GLOO_SOCKET_IFNAME"] = "lo"
            command = [sys.executable, "-m", "flenwheel_core.stages.train_member", str(request), str(results[rank])]
            command += [str(context.scratch), str(context.memory_level)]
            started.append(subprocess.Popen(command, env=environment))
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()


def _follow(processes: list[subprocess.Popen[bytes]], context: StageContext) -> None:
    """Until all have ended. One that fails takes the others with it; a stop is told through a file, so that all save."""
    stopped_at: float | None = None
    while any(process.poll() is None for process in processes):
        if context.stop.is_set() and stopped_at is None:
            (context.scratch / "team" / STOP_FILE).touch()
            stopped_at = time.monotonic()
        if stopped_at is not None and time.monotonic() - stopped_at > STOP_SECONDS:
            raise InterruptedStageError(
                "Training was stopped before it could save.", remedy="Start it again: it goes on from its checkpoint."
            )
        if any(process.poll() not in (None, EXIT_DONE) for process in processes):
            time.sleep(2)  # the others may be about to say why
            return
        time.sleep(0.2)
