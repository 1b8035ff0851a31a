"""The process of a flow run: as long as it lives it holds a kernel lock in the workspace, and its note says what it was and why it ended.

Whether a run lives is asked of that lock alone. Processes that one cannot see (another host, another container, another user) hold theirs
elsewhere, and nothing is said about them.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime

from flenwheel_core.base.document import Document
from flenwheel_core.base.locks import held_by, locked
from flenwheel_core.base.settings import Settings

NOTE_BYTES = 4096
"""Notes have their full size from the start, so that the end can be written on a disk that is full meanwhile."""
FULL_BYTES = 2**20
MOST_REASON = 400


class RunNote(Document):
    """What a run's process leaves of itself."""

    flow_run: str
    worker: str
    """The worker that started it."""
    host: str
    machine: str
    boot: str
    """The kernel's name for this boot: the same in every container of the machine."""
    pid: int
    began: AwareDatetime
    ended: str = ""
    """Why it ended, if that was an error; empty while it lives, after a clean end, and after a kill."""

    @property
    def of_this_machine(self) -> bool:
        """True if its lock would be seen here: the same kernel, or the same machine before a restart."""
        return self.boot == _boot() or (self.host, self.machine) == (socket.gethostname(), _machine())


@contextmanager
def living(settings: Settings, flow_run: str, worker: str = "") -> Iterator[None]:
    """Held by the process of a run. A second process of the same run waits here until the first is gone: one runs at a time."""
    with locked(_path(settings, flow_run)) as lock:
        note = RunNote(
            flow_run=flow_run,
            worker=worker,
            host=socket.gethostname(),
            machine=_machine(),
            boot=_boot(),
            pid=os.getpid(),
            began=datetime.now(UTC),
        )
        _write(lock.descriptor, note)
        try:
            yield
        except BaseException as error:
            reason = _reason(error, settings.root)
            if reason:
                _write(lock.descriptor, note.model_copy(update={"ended": reason}))
            raise


def lives(settings: Settings, flow_run: str) -> bool:
    """True while a process of this run holds its lock."""
    return held_by(_path(settings, flow_run)) is not None


def run_note(settings: Settings, flow_run: str) -> RunNote | None:
    """The note of the run's last process in this workspace; None if there was none, or its writing was cut short."""
    try:
        return RunNote.model_validate_json(_path(settings, flow_run).read_bytes().strip())
    except (OSError, ValueError):
        return None


def run_processes(settings: Settings) -> dict[str, int]:
    """Runs of this workspace with a living process: run id to process id, as the process saw it."""
    found = {}
    for path in _path(settings, "x").parent.glob("*.json"):
        note = run_note(settings, path.stem) if held_by(path) is not None else None
        if note is not None:
            found[note.flow_run] = note.pid
    return found


def _boot() -> str:
    return _word(Path("/proc/sys/kernel/random/boot_id"))


def _machine() -> str:
    return _word(Path("/etc/machine-id"))


def _word(path: Path) -> str:
    """What a file of the system says; empty where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _path(settings: Settings, flow_run: str) -> Path:
    return settings.root / "runs" / f"{flow_run}.json"


def _write(descriptor: int, note: RunNote) -> None:
    """Over the old note, in place. A full disk may refuse the very first one: a run goes on without."""
    try:
        os.pwrite(descriptor, note.to_bytes()[:NOTE_BYTES].ljust(NOTE_BYTES), 0)
    except OSError:
        return


def _reason(error: BaseException, root: Path) -> str:
    """The first line of what ended the process, and the disk's state if that may be why; empty for a clean exit."""
    cause: BaseException | None = error
    if isinstance(error, SystemExit):
        if not error.code:
            return ""
        cause = error.__context__
    said = f"{type(cause).__name__}: {cause}".splitlines()[0] if cause is not None else "it exited with an error"
    full = shutil.disk_usage(root).free < FULL_BYTES
    return said[:MOST_REASON] + ("; the disk of the workspace is full" if full else "")
