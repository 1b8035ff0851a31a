"""A training's state in the store, so that it goes on on another machine when this one is gone.

While a stage works, its newest checkpoint and the samples drawn so far go to the store in the background: first the files, as blobs
named by their digests, then a line that names them. So a state is in the store whole or not at all, and one that was damaged since is
not taken: the one before it is. What the store holds never changes a result; it only spares making it again.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from pydantic import AwareDatetime

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import CorruptBlobError, CorruptManifestError, FlenwheelError, NotFoundError
from flenwheel_core.base.ids import Digest
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.requests.base import StageRequest
from flenwheel_core.runner.stage import KeptFiles
from flenwheel_core.store import Store
from flenwheel_core.store.files import Files

KEEP = 2
"""States that stay in the store: the newest may be of a machine that is just about to write."""
SHARE_OF_INTERVAL = 0.5
"""A state that is newer than the stored one goes there when the stored one is older than this share of the interval."""
MOST_PAUSE_SECONDS = 5.0


class StoredState(Document):
    """One state of a training."""

    name: str
    """The checkpoint: a path in the scratch folder. Later ones have later names."""
    files: dict[str, Digest]
    """All files of the state, by path in the scratch folder."""
    machine: str
    at: AwareDatetime


@dataclass
class StateKeeper:
    """Brings a stage's state from the store at its beginning, and keeps it there while it works."""

    store: Store
    request: StageRequest
    kept: KeptFiles
    scratch: Path
    seconds: float
    """How old the stored state may become."""
    machine: str
    progress: Progress
    _stored: str = ""
    _said: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)

    def fetch(self) -> str | None:
        """Takes the newest whole state of the store, unless this machine has a newer one; its name if it was taken."""
        here = self._newest()
        for path in reversed(list(self.store.files.list(self._folder))):
            try:
                state = StoredState.from_bytes(self.store.files.read(path), where=self.store.files.address(path))
                if here is not None and self._name(here) >= state.name:
                    self._stored = state.name
                    return None
                found = {file: self.store.get_blob(digest) for file, digest in state.files.items()}
            except (FileNotFoundError, NotFoundError, CorruptBlobError, CorruptManifestError):
                continue
            here_too = Files(self.scratch.as_uri())
            for file, data in sorted(found.items(), key=lambda item: item[0] == state.name):
                here_too.write(file, data)  # the checkpoint last: with it, all of the state is there
            self._stored = state.name
            self.progress.note(f"goes on from {state.name}, which {state.machine} left in the store")
            return state.name
        return None

    def put(self) -> bool:
        """Puts the newest state into the store unless it is there; True if it was put. Raises what the store raises."""
        newest = self._newest()
        if newest is None or self._name(newest) <= self._stored:
            return False
        paths = [*(path for pattern in self.kept.beside for path in sorted(self.scratch.glob(pattern))), newest]
        try:
            files = {self._name(path): self.store.put_blob(path.read_bytes()) for path in paths}
        except FileNotFoundError:
            return False  # it made room for a newer one
        name = self._name(newest)
        state = StoredState(name=name, files=files, machine=self.machine, at=datetime.now(UTC))
        self.store.files.write(f"{self._folder}/{PurePosixPath(name).name}.json", state.to_bytes())
        self._stored = name
        self._remove(keep=KEEP)
        return True

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """While it is held, the state goes to the store in the background; at a stop or a failure once more at its end."""
        self.fetch()
        thread = threading.Thread(target=self._work, name="kept-state", daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            self._end(thread)
            self._try_to_put()
            raise
        self._end(thread)

    def clear(self) -> None:
        """Removes all states: the result is there. What cannot be removed now is garbage (`store/garbage.py`)."""
        with suppress(FlenwheelError, OSError):
            self._remove(keep=0)

    def _work(self) -> None:
        # The first state goes there as soon as there is one: until then all of the work would be lost.
        while not self._ended.wait(min(MOST_PAUSE_SECONDS, self.seconds / 10)):
            if self._try_to_put():
                self._ended.wait(self.seconds * SHARE_OF_INTERVAL)

    def _try_to_put(self) -> bool:
        try:
            return self.put()
        except (FlenwheelError, OSError) as error:
            if not self._said:
                self.progress.note(f"the training goes on, but its state does not reach the store: {error}")
                self._said = True
            return False

    def _end(self, thread: threading.Thread) -> None:
        self._ended.set()
        thread.join()

    def _remove(self, *, keep: int) -> None:
        """All but the newest; another machine may do the same."""
        paths = list(self.store.files.list(self._folder))
        gone = paths[: len(paths) - keep]
        needed = {self._checkpoint(path) for path in paths if path not in gone}
        for path in gone:
            # Samples stay: the result names the same files.
            checkpoint = self._checkpoint(path)
            self.store.files.delete(path)
            if checkpoint is not None and checkpoint not in needed:
                self.store.delete_blob(checkpoint)

    def _checkpoint(self, path: str) -> str | None:
        """The blob of a state's checkpoint; None if its line is gone or damaged."""
        try:
            state = StoredState.from_bytes(self.store.files.read(path), where=self.store.files.address(path))
        except (FileNotFoundError, CorruptManifestError):
            return None
        return state.files.get(state.name)

    @property
    def _folder(self) -> str:
        return state_folder(self.store, self.request)

    def _newest(self) -> Path | None:
        return max(self.scratch.glob(self.kept.newest_of), default=None)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.scratch).as_posix()


def state_folder(store: Store, request: StageRequest) -> str:
    """Where the states of a request are listed."""
    return f"{store.stage_folder(request)}/states"


def keeper_of(
    kept: KeptFiles | None,
    request: StageRequest,
    store: Store,
    settings: Settings,
    scratch: Path,
    progress: Progress,
) -> StateKeeper | None:
    """None for a stage that keeps nothing, and where the store is this machine's own."""
    seconds = settings.checkpoint_seconds
    if kept is None or seconds is None:
        return None
    return StateKeeper(store, request, kept, scratch, seconds, settings.machine_name, progress)
