"""A WSGI app on loopback whose connections break where one asks: before a request is handled, after it, or with the client's process."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from werkzeug.serving import WSGIRequestHandler, make_server

How = Literal["cut before", "cut after", "killed before", "killed after"]
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass
class Breaker:
    """Counts requests and breaks off at one of them; from then on nothing is answered until `mend`."""

    at: int | None = None
    how: How = "cut before"
    victim: int | None = None
    """The process that is killed, where `how` says so."""
    requests: list[str] = field(default_factory=list)
    broken: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def mend(self) -> None:
        """Answers again, and counts from the beginning."""
        self.at, self.broken, self.victim = None, False, None
        self.requests.clear()

    def count(self, request: str) -> str:
        """What becomes of this request: `answer`, `drop`, or `drop after` it was handled."""
        with self._lock:
            self.requests.append(request)
            if self.broken:
                return "drop"
            if self.at is None or len(self.requests) <= self.at:
                return "answer"
            self.broken = True
            return "drop after" if self.how.endswith("after") else "drop"

    def strike(self) -> None:
        """Kills the client, where that is how it breaks."""
        if self.how.startswith("killed") and self.victim is not None:
            with suppress(ProcessLookupError):
                os.kill(self.victim, signal.SIGKILL)


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_: Any, **__: Any) -> None:
        pass


@contextmanager
def serving(app: App) -> Iterator[tuple[str, Breaker]]:
    """The app's address, and its breaker."""
    breaker = Breaker()

    def broken(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        fate = breaker.count(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        if fate == "answer":
            return app(environ, start)
        if fate == "drop after":
            for _ in app(environ, lambda *_, **__: lambda _: None):
                pass
        breaker.strike()
        # The client sees a connection that ends without an answer.
        connection: socket.socket = environ["werkzeug.socket"]
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError

    server = make_server("127.0.0.1", 0, broken, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", breaker
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
