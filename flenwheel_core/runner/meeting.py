"""How the machines of one training find each other, and find out that one of them is gone.

The leading machine's stage opens torch's TCPStore and writes into the common store where it is; the others connect to it. Through it each
machine beats once a second. Whoever falls silent, or says that it failed, ends the attempt on all.
"""

import ipaddress
import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import BY_NAME, FlenwheelError, LostMemberError, ResourceError, RetryableError
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.settings_sources import TEAM_VARIABLE
from flenwheel_core.store import Store

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined] # public, but not named in __all__

MEETING_SECONDS = 300.0
"""How long the machines of a training may take to come together."""
BEAT_SECONDS = 1.0
LOOK_SECONDS = 0.5
ROUTES = Path("/proc/net/route")
ANSWER_SECONDS = 3.0
"""How long a machine that may stand still is waited for, where its answer changes nothing any more."""
_AGAIN = "Retry the run: training goes on from its checkpoint, with the machines that are there then."

T = TypeVar("T")


class Gathering(Document):
    """One attempt of a training over several machines, as the leading machine's stage is told of it."""

    attempt: str
    address: str
    """Of the leading machine, for the others."""
    slots: tuple[str, ...]
    """The GPU slot of each machine by place, the leading one first."""

    def environment(self) -> dict[str, str]:
        """How the stage's process is told."""
        return {TEAM_VARIABLE: self.model_dump_json()}


class Meeting(Document):
    """Where the leading machine is met in an attempt."""

    attempt: str
    address: str
    port: int


def gathering_here(machines: int) -> Gathering:
    """What this process was told. Raises ResourceError where a training over several machines was begun without them."""
    told = os.environ.get(TEAM_VARIABLE)
    if told is None:
        raise ResourceError(
            f"train.hosts asks for {machines} machines, and this stage was begun for one.",
            why="only a run of a cluster takes cards of several machines.",
            remedy="Set train.hosts = 1, or start the training as a run: flenwheel run.",
        )
    return Gathering.from_bytes(told.encode(), where=TEAM_VARIABLE)


def announce(store: Store, training: str, meeting: Meeting) -> None:
    """Tells the others where to come to."""
    store.files.write(_place_of(training), meeting.to_bytes())


def call_off(store: Store, training: str) -> None:
    """The attempt is over."""
    with suppress(FlenwheelError, OSError):
        store.files.delete(_place_of(training))


def await_meeting(store: Store, training: str, attempt: str, seconds: float = MEETING_SECONDS) -> Meeting:
    """Where the attempt meets, once its leading machine says so. Raises RetryableError if it does not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(FileNotFoundError):
            path = _place_of(training)
            found = Meeting.from_bytes(store.files.read(path), where=store.files.address(path))
            if found.attempt == attempt:
                return found
        time.sleep(LOOK_SECONDS)
    raise RetryableError(
        f"The leading machine did not begin the training within {seconds:.0f} s.",
        why="its run was stopped or failed meanwhile, or its card is held by something else.",
        remedy="Nothing is to be done here: the leading run is tried again by itself, or with Retry.",
    )


def own_address(settings: Settings) -> str:
    """The address at which the others of a training find this machine: as set, or the one by which it reaches the server."""
    if settings.meeting_address is not None:
        return settings.meeting_address
    server = urlsplit(settings.server_url or "").hostname
    return route_to(server) if server is not None else "127.0.0.1"


def route_to(host: str) -> str:
    """This machine's own address on the way to `host`. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError as error:
            raise RetryableError(
                f"There is no way from this machine to {host}.", why=str(error), remedy="Look at names and routes."
            ) from error
        return str(probe.getsockname()[0])


def interface_to(address: str, routes: Path = ROUTES) -> str | None:
    """The network interface on the way to an address, such as eth0; None where the system does not say."""
    try:
        wanted = ipaddress.IPv4Address(socket.gethostbyname(address))
        lines = [line.split() for line in routes.read_text().splitlines()[1:]]
    except (OSError, ValueError):
        return None
    if wanted.is_loopback:
        return "lo"
    found = []
    for name, target, _gateway, _flags, _, _, metric, mask, *_ in lines:
        network, bits = (int.from_bytes(bytes.fromhex(word), "little") for word in (target, mask))
        if int(wanted) & bits == network:
            found.append((-bits, int(metric), name))
    return min(found)[2] if found else None


class Watch:
    """What one machine of an attempt knows of the others. The leading machine listens to all, the others to the leading one."""

    def __init__(self, store: "TCPStore", place: int, slots: Sequence[str], silent_seconds: float) -> None:
        """`slots`: names of the machines by place, for people; `silent_seconds`: how long one may be silent."""
        self._store, self._place, self._slots, self._silent = store, place, slots, silent_seconds
        self._others = range(1, len(slots)) if place == 0 else (0,)
        self._heard: dict[int, tuple[int, float]] = {}
        self._lost: FlenwheelError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="beat", daemon=True)

    def start(self) -> None:
        """From now on this machine beats, and the leading one counts as heard: it answered just now."""
        if self._place:
            self._heard[0] = (0, time.monotonic())
        self._thread.start()

    def stop(self) -> None:
        """No more beats. A thread that waits for a machine that is gone is left alone."""
        self._over.set()
        self._thread.join(BEAT_SECONDS * 2)

    def await_all(self, seconds: float, stop: threading.Event, address: str) -> None:
        """Until every machine beats. Raises RetryableError after so long, and what another machine says went wrong before."""
        end = time.monotonic() + seconds
        while (missing := [self._slots[place] for place in self._others if place not in self._heard]) and not (
            stop.wait(LOOK_SECONDS)
        ):
            if (lost := self.lost()) is not None:
                raise lost
            if time.monotonic() > end:
                raise RetryableError(
                    f"{', '.join(missing)} did not come to the training within {seconds:.0f} s.",
                    why=f"its worker did not begin its share, or it does not reach this machine at {address}.",
                    remedy="See the run of that share, and FLENWHEEL_MEETING_ADDRESS of this machine; then retry the run.",
                )

    def lost(self) -> FlenwheelError | None:
        """Why the attempt is over; None while nothing is known against it."""
        if self._lost is not None:
            return self._lost
        for place, (_, at) in list(self._heard.items()):
            if time.monotonic() - at > self._silent:
                return LostMemberError(
                    f"{self._slots[place]} has been silent for {self._silent:.0f} s.",
                    why="the machine is gone, cut off, or stands still.",
                    remedy=_AGAIN,
                )
        return None

    def say(self, error: FlenwheelError | None) -> None:
        """This machine is done, or failed. Whoever does not listen, because it stands still or is cut off, is not waited for."""
        said = {} if error is None else {"error": type(error).__name__, "what": error.what, "why": error.why}
        with suppress(RuntimeError, TimeoutError):
            _in_time(ANSWER_SECONDS, lambda: self._store.set(f"end/{self._place}", json.dumps(said)))

    def cause(self, error: FlenwheelError, seconds: float) -> FlenwheelError:
        """What another machine says within so many seconds of why this one failed; else the error itself."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._thread.is_alive():
            if self._lost is not None:
                return self._lost
            time.sleep(LOOK_SECONDS)
        return error

    def await_ends(self, seconds: float) -> None:
        """Until all others have ended, or for so long: whoever leads must not leave first."""
        end = time.monotonic() + seconds
        waiting = [f"end/{place}" for place in self._others]
        while time.monotonic() < end and not self._store.check(waiting):
            time.sleep(0.1)

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                self._store.add(f"beat/{self._place}", 1)
                for place in self._others:
                    self._listen(place)
                self._over.wait(BEAT_SECONDS)
        except RuntimeError as error:
            name = self._slots[self._others[0]]
            why = f"its process ended, or the network did: {error}".splitlines()[0]
            self._lost = LostMemberError(f"{name}, which leads the training, is gone.", why=why, remedy=_AGAIN)

    def _listen(self, place: int) -> None:
        beats = self._store.add(f"beat/{place}", 0)
        if beats and (place not in self._heard or beats != self._heard[place][0]):
            self._heard[place] = (beats, time.monotonic())
        if self._store.check([f"end/{place}"]):
            self._heard[place] = (beats, math.inf)  # it need not beat any more
            said = json.loads(self._store.get(f"end/{place}"))
            if said and self._lost is None:
                kind = BY_NAME.get(said["error"], RetryableError)
                self._lost = kind(f"{self._slots[place]}: {said['what']}", why=said["why"], remedy=_AGAIN)


def open_table(machines: int) -> "TCPStore":
    """The leading machine's table, on a free port: of all its addresses, as torch does it, or of a single machine on loopback alone.

    It knows no password: whoever reaches it reads and writes it.
    """
    from torch.distributed import TCPStore  # type: ignore[attr-defined] # public, but not named in __all__

    if machines > 1:
        return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ours = socket.create_server(("127.0.0.1", 0))
    port = ours.getsockname()[1]
    return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=ours.detach())


def come_to_table(address: str, port: int, silent_seconds: float) -> "TCPStore":
    """Raises RetryableError if the leading machine is not reached, or does not answer."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined] # public, but not named in __all__

    try:
        patience = timedelta(seconds=silent_seconds)
        return _in_time(
            silent_seconds + ANSWER_SECONDS,
            lambda: TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=patience),
        )
    except (RuntimeError, TimeoutError) as error:
        raise RetryableError(
            f"The leading machine is not reached at {address}:{port}.",
            why=str(error).splitlines()[0],
            remedy="Set FLENWHEEL_MEETING_ADDRESS there to an address that other machines reach, and open its ports to them.",
        ) from error


def _in_time(seconds: float, act: Callable[[], T]) -> T:
    """What `act` gives or raises; TimeoutError if it takes longer.

    torch waits for an answer without end, and holds its lock meanwhile: a thread caught there is left behind and ends with the process.
    """
    ended: Future[T] = Future()

    def work() -> None:
        try:
            ended.set_result(act())
        except BaseException as error:
            ended.set_exception(error)

    threading.Thread(target=work, name="asks the leading machine", daemon=True).start()
    try:
        return ended.result(seconds)
    except TimeoutError as error:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from error


def _place_of(training: str) -> str:
    return f"stages/train/{training}/meeting.json"
