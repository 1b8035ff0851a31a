"""An object store on loopback that does one thing at a time, and may be told to answer as a busy one does."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from benchmarks.kit.object_store import App, one_at_a_time

BUCKET = "flenwheel"
CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>Another write is under way.</Message></Error>"


def options_of(endpoint: str) -> dict[str, str]:
    """What a store at this address is opened with."""
    return {"endpoint_url": endpoint, "key": "test", "secret": "test", "region_name": "us-east-1"}


def busy(app: App, refusals: Iterator[bool]) -> App:
    """The same store, which refuses a conditional write whenever `refusals` says so, as S3 does while another one is under way."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "PUT" and "HTTP_IF_NONE_MATCH" in environ and next(refusals, False):
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("409 Conflict", [("Content-Type", "application/xml"), ("Content-Length", str(len(CONFLICT)))])
            return [CONFLICT]
        return app(environ, start)

    return answer


@contextmanager
def serve_s3(refusals: Iterator[bool] | None = None) -> Iterator[str]:
    """The address of such a store, with an empty bucket."""
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line a request would hide all else that a test logs
    app: App = one_at_a_time(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app if refusals is None else busy(app, refusals), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        client = boto3.client(
            "s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        client.create_bucket(Bucket=BUCKET)
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
