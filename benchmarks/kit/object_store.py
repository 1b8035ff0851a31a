"""Moto as an S3 server that does one thing at a time: `python -m benchmarks.kit.object_store PORT`.

An object store promises that of several conditional writes to one name one succeeds, and that what was written can be read. Moto's own
server answers requests in threads and keeps neither: two writers at one moment may both be told that they were first.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def one_at_a_time(app: App) -> App:
    """The same app; a request is answered before the next one begins."""
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        with lock:
            return list(app(environ, start))

    return answer


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request would be most of what it does
    run_simple(
        "127.0.0.1", int(sys.argv[1]), one_at_a_time(DomainDispatcherApplication(create_backend_app)), threaded=True
    )
