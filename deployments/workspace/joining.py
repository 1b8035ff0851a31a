"""A worker that joins the server of another machine, or works for a second card: it heals what its own stops and crashes left.

The `flenwheel up` that runs the server knows nothing of the processes of another machine. What this worker had taken and not begun when it
was stopped nobody else could take up again, because a worker of its name is there.
"""

import os
import signal
import threading
import time

from deployments.prefect.api import STARTING_PATIENCE_SECONDS, PrefectApi
from deployments.prefect.project import PROJECT
from deployments.workspace import environment
from deployments.workspace.processes import Child
from deployments.workspace.reconciler import mark_crashed, take_up_again
from deployments.workspace.up import RECONCILE_SECONDS, SERVER_PORT, STOP_SECONDS, Say, log_folder, sole_owner
from flenwheel_core.base.errors import FlenwheelError, UserError
from flenwheel_core.base.settings import Settings

API_URL = "PREFECT_API_URL"


def run_worker(settings: Settings, say: Say) -> None:
    """`flenwheel worker`: until Ctrl-C or SIGTERM. Raises UserError where no server is named or a worker of this workspace runs already."""
    url = os.environ.get(API_URL, "")
    if not url.startswith(("http://", "https://")):
        raise UserError(
            "Which server the worker is to work for is not known.",
            why=f"{API_URL} is {url!r}." if url else f"{API_URL} is not set.",
            remedy=f"Set it to the address of the Prefect server with /api, such as {API_URL}=http://MACHINE:4200/api.",
        )
    with sole_owner(settings):
        _run(settings, url, say)


def _run(settings: Settings, url: str, say: Say) -> None:
    token = settings.token.get_secret_value() if settings.token else None
    api = PrefectApi(url, token, patience_seconds=STARTING_PATIENCE_SECONDS)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    log = log_folder(settings) / "worker.log"
    variables = environment.service_environment(settings, SERVER_PORT) | {API_URL: url}
    worker = Child("worker", environment.worker_command(settings), variables, PROJECT, log)
    api.ensure_limit(settings.slot_limit, 1)
    for line in take_up_again(api, settings):
        say(line)
    worker.start()
    say(f"Working for {url} (log: {log}). Ctrl-C stops it.")
    looked = time.monotonic()
    try:
        while not stop.wait(0.5):
            if not worker.alive():
                say(f"The worker ended unexpectedly; starting it again (log: {log}).")
                stop.wait(2)
                worker.start()
            if time.monotonic() - looked >= RECONCILE_SECONDS:
                _put_right(api, settings, say)
                looked = time.monotonic()
    finally:
        worker.stop(STOP_SECONDS)


def _put_right(api: PrefectApi, settings: Settings, say: Say) -> None:
    try:
        for line in mark_crashed(api, settings, of_others=False):
            say(line)
    except FlenwheelError as error:
        say(error.message)
