"""A machine of a training over several: one stage in a process of its own, with a folder of its own, and the common store."""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread

from flenwheel_core.base.settings import Settings
from flenwheel_core.requests.base import StageRequest
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.requests.train_share import TrainShareRequest
from flenwheel_core.runner.launch import child_environment
from flenwheel_core.runner.meeting import Gathering, await_meeting
from flenwheel_core.runner.stage_process import start_stage
from flenwheel_core.store import Store
from tests.kit.sources import ROOT

WAIT_SECONDS = 400.0


class Side:
    """A stage at work on one machine."""

    def __init__(self, settings: Settings, request: StageRequest, more: Mapping[str, str] | None = None) -> None:
        settings.root.mkdir(parents=True, exist_ok=True)
        self._workspace, self._result = settings.root, settings.root / f"{request.stage}.result"
        self._result.unlink(missing_ok=True)
        asked = settings.root / f"{request.stage}.json"
        asked.write_bytes(request.to_bytes())
        environment = {**child_environment(settings, None), "PYTHONPATH": str(ROOT), **(more or {})}
        argv = [request.stage, str(asked), str(self._result)]
        self.process = start_stage(argv, environment, card=False, ahead=settings.gpu == "cpu")
        assert self.process.stdout is not None and self.process.stderr is not None
        self.lines: list[str] = []
        self.errors: list[str] = []
        streams = ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        self._readers = [Thread(target=said.extend, args=(stream,)) for stream, said in streams]
        for reader in self._readers:
            reader.start()

    def steps(self) -> list[int]:
        """The steps it told of, so far."""
        events = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [event["done"] for event in events if event["kind"] == "step"]

    def over(self) -> bool:
        try:
            self.process.wait(0.02)
        except subprocess.TimeoutExpired:
            return False
        return True

    def freeze(self) -> None:
        """Stops everything of this machine; its connections stay as they are. `cut_power` ends it."""
        for pid in (self.process.pid, *self._members()):
            os.kill(pid, signal.SIGSTOP)

    def cut_power(self) -> None:
        """Kills everything of this machine, until nothing is left."""
        self.process.kill()
        while members := self._members():
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.end()

    def _members(self) -> list[int]:
        """The stage's own processes. The stage itself was forked from one that has other variables."""
        mark = f"FLENWHEEL_WORKSPACE={self._workspace}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            try:
                named = folder.name.isdigit() and b"train_member" in (folder / "cmdline").read_bytes()
                if named and mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def end(self) -> tuple[int, dict[str, str]]:
        """Its exit code, and what it wrote: its result, or what went wrong."""
        code = self.process.wait(WAIT_SECONDS)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code, json.loads(self._result.read_bytes()) if self._result.exists() else {}


def machine(folder: Path, name: str, **more: object) -> Settings:
    """The settings of a machine."""
    values: dict[str, object] = {
        "workspace": folder / name,
        "machine_name": name,
        "gpu": "cpu",
        "store": (folder / "store").as_uri(),
        "checkpoint_minutes": 0.05,
        "lease_seconds": 30,
    }
    return Settings.model_validate({**values, **more})


def begun_together(request: TrainRequest, attempt: str, first: Settings, *others: Settings) -> list[Side]:
    """The machines of an attempt at work, the leading one first."""
    slots = tuple(one.slot_name for one in (first, *others))
    told = Gathering(attempt=attempt, address="127.0.0.1", slots=slots)
    sides = [Side(first, request, told.environment())]
    store = Store(first.store_url)
    meeting = await_meeting(store, request.key(), attempt, WAIT_SECONDS)
    for place, one in enumerate(others, start=1):
        share = TrainShareRequest(
            training=request.key(), attempt=attempt, place=place, address=meeting.address, port=meeting.port
        )
        sides.append(Side(one, share))
    return sides
