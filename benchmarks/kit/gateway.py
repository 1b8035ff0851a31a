"""What stands before several servers: hands each connection to the first that answers. A machine's own one can be cut, like its cable."""

import selectors
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

PIECE_BYTES = 65536


class Gateway:
    """Listens on a port of loopback and forwards to the first of `targets` that takes a connection."""

    def __init__(self, targets: Sequence[int]) -> None:
        self._targets = list(targets)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self._open = threading.Event()
        self._open.set()
        self._ended = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._turn = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, targets: Sequence[int]) -> None:
        """It forwards to these, too, from now on."""
        self._targets = [*self._targets, *targets]

    def cut(self) -> None:
        """From now on nothing comes through, and what was connected is broken off."""
        self._open.clear()
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _shut(*pair)

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._ended = True
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        server = self._reach() if self._open.is_set() else None
        if server is None:
            _shut(caller)
            return
        pair = (caller, server)
        with self._lock:
            self._pairs.add(pair)
        try:
            _forward(caller, server)
        finally:
            with self._lock:
                self._pairs.discard(pair)
            _shut(caller, server)

    def _reach(self) -> socket.socket | None:
        """In turn, so that all servers work."""
        self._turn += 1
        count = len(self._targets)
        for port in (self._targets[(self._turn + step) % count] for step in range(count)):
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=2)
            except OSError:
                continue
        return None


def _forward(one: socket.socket, other: socket.socket) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                try:
                    data = source.recv(PIECE_BYTES)
                    if data:
                        key.data.sendall(data)
                except OSError:
                    return
                if not data:
                    return


def _shut(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
