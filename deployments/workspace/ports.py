"""Ports of a workspace: the usual one if it is free, else the next, kept from other workspaces that start at the same moment."""

import socket
import tempfile
from pathlib import Path

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.locks import FileLock

TRIED = 200


class Port:
    """A port of this workspace. Until the service listens on it, other workspaces see by a lock that it is taken."""

    def __init__(self, host: str, wanted: int) -> None:
        folder = Path(tempfile.gettempdir()) / "flenwheel-locks"
        for number in range(wanted, wanted + TRIED):
            lock = FileLock(folder / f"port-{number}.lock")
            if lock.try_to_take() and _free(host, number):
                self.number = number
                self._lock = lock
                return
            lock.close()
        raise ResourceError(f"No port from {wanted} to {wanted + TRIED - 1} is free on {host}.")

    def close(self) -> None:
        """Lets others have it."""
        self._lock.close()


def _free(host: str, number: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError:
            return False
    return True
