"""Workers that join the server of another machine, or work for a second card: they heal what their own stops and crashes left.

The `flenwheel up` that runs the server knows nothing of the processes of another machine. What this worker had taken and not begun when it
was stopped nobody else could take up again, because a worker of its name is there.
"""

import os

from deployments.prefect.api import STARTING_PATIENCE_SECONDS, PrefectApi
from deployments.prefect.project import PROJECT
from deployments.workspace import environment
from deployments.workspace.keeping import Duty, Keeper, Say
from deployments.workspace.processes import Child
from deployments.workspace.reconciler import is_lost, mark_crashed, take_up_again
from deployments.workspace.up import RECONCILE_SECONDS, STOP_SECONDS, log_folder, sole_owner
from flenwheel_core.base.errors import ResourceError, UserError
from flenwheel_core.base.given_settings import ALL_CARDS
from flenwheel_core.base.settings import Settings
from tasks.share_names import SLOT

API_URL = "PREFECT_API_URL"
WORKER_STOP_SECONDS = STOP_SECONDS


def run_worker(settings: Settings, say: Say) -> None:
    """`flenwheel worker`: until Ctrl-C or SIGTERM. Raises UserError where no server is named or a worker of this workspace runs already."""
    url = os.environ.get(API_URL, "") or (f"{settings.server_url}/api" if settings.server_url else "")
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
    keeper = Keeper(say)
    keeper.listen()
    try:
        for line in prepare_worker(api, settings):
            say(line)
        worker = keeper.start(worker_child(settings, url), stop_seconds=WORKER_STOP_SECONDS)
        say(f"Working for {url} (log: {worker.log}). Ctrl-C stops it.")
        keeper.duties.append(Duty(lambda: put_right(api, settings), RECONCILE_SECONDS))
        keeper.run()
    finally:
        keeper.stop()


def card_settings(settings: Settings) -> list[Settings]:
    """The settings of a worker for each card of this machine; each knows all of them.

    Raises ResourceError if all cards are wanted and there are none.
    """
    cards = settings.cards
    if cards == (ALL_CARDS,):
        cards = tuple(str(index) for index in range(_count_cards()))
        if not cards:
            raise ResourceError(
                "This machine has no NVIDIA card.",
                remedy="Name its cards in FLENWHEEL_CARDS, or set FLENWHEEL_GPU=cpu.",
            )
    if not cards:
        return [settings]
    if settings.slot is not None and len(cards) > 1:
        raise UserError(
            "Several cards cannot share one slot.",
            why=f"FLENWHEEL_SLOT is {settings.slot!r} and FLENWHEEL_CARDS names {len(cards)} cards.",
            remedy="Leave FLENWHEEL_SLOT out; FLENWHEEL_MACHINE_NAME names the machine, and each card gets a slot of its own.",
        )
    return [settings.model_copy(update={"gpu": card, "cards": cards}) for card in cards]


def _count_cards() -> int:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    count = int(pynvml.nvmlDeviceGetCount())
    pynvml.nvmlShutdown()
    return count


def prepare_worker(api: PrefectApi, settings: Settings) -> list[str]:
    """Makes the slot's limit and takes up what the last stop left; returns lines about it."""
    api.ensure_limit(settings.slot_limit, 1)
    return take_up_again(api, settings)


def worker_child(settings: Settings, url: str, *, joined: bool = False) -> Child:
    """The worker's process; `joined`: one of a cluster, which leaves runs to others."""
    command = environment.joined_worker_command(settings) if joined else environment.worker_command(settings)
    name = "worker" if not settings.cards else f"worker-{settings.gpu}"
    log = log_folder(settings) / f"{name}.log"
    return Child(name, command, environment.joined_environment(settings, url), PROJECT, log)


def put_right(api: PrefectApi, settings: Settings) -> list[str]:
    """Marks what crashed on this machine; returns a line for each."""
    return mark_crashed(api, settings, of_others=False)


def give_back(api: PrefectApi, settings: Settings) -> list[str]:
    """Schedules again what this machine of a cluster worked at, so that another one goes on at once; returns a line for each run.

    To be called when its workers have ended. A share of a training over several machines is left: the slot it is for is this machine's.
    Raises ServerError if the server does not answer; then the run goes on elsewhere after the lease, as after a power cut.
    """
    done = []
    for run in api.every_run(["RUNNING", "PENDING"]):
        if SLOT not in run.parameters and is_lost(run, settings) and api.run(run.id).state == run.state:
            status = api.set_state(
                run.id, "SCHEDULED", "AwaitingRetry", "It goes on elsewhere: its machine was stopped."
            )
            done.append(f"{run.name} ({run.id}): given back; it goes on elsewhere ({status})")
    return done
