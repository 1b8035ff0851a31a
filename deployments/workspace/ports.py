"""Ports of a workspace: the usual one if it is free, else the next, kept from other workspaces that start at the same moment."""

import fcntl
import socket
import tempfile
from pathlib import Path
from typing import IO

from flenwheel_core.base.errors import ResourceError

TRIED = 200


class Port:
    """A port of this workspace. Until the service listens on it, other workspaces see by a lock that it is taken."""

    def __init__(self, host: str, wanted: int) -> None:
        folder = Path(tempfile.gettempdir()) / "flenwheel-locks"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(wanted, wanted + TRIED):
            lock = (folder / f"port-{number}.lock").open("a")
            if _locked(lock) and _free(host, number):
                self.number = number
                self._lock = lock
                return
            lock.close()
        raise ResourceError(f"No port from {wanted} to {wanted + TRIED - 1} is free on {host}.")

    def close(self) -> None:
        """Lets others have it."""
        self._lock.close()


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free(host: str, number: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError:
            return False
    return True
