"""Takes a share of a training that another machine leads. The leading run holds this card's slot, so none is taken here."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.settings import Settings
from flenwheel_core.requests.train_share import TrainShareRequest
from flenwheel_core.runner.launch import prepare, run_in_child
from flenwheel_core.runner.meeting import await_meeting
from flenwheel_core.runner.stage import TRAIN_SHARE
from flenwheel_core.store import Store
from tasks.progress_artifact import reporting


@task(name="train share", task_run_name="train along on {slot}", cache_policy=NO_CACHE, persist_result=False)
def take_share(training: str, attempt: str, place: int, slot: str, cards: int, memory_level: int) -> str:
    """Trains along until the leading machine is done. Raises what the stage raises, and InputError on another machine."""
    settings = Settings()
    if settings.slot_name != slot:
        raise InputError(
            f"This share is that of {slot}, and this is {settings.slot_name}.",
            why="a worker took it that was not started by `flenwheel up --join`.",
            remedy="Start workers with `flenwheel up --join`; the training is tried again by itself.",
        )
    prepare(settings)  # while the leading machine's stage begins
    meeting = await_meeting(Store(settings.store_url, settings.store_options), training, attempt)
    request = TrainShareRequest(
        training=training,
        attempt=attempt,
        place=place,
        address=meeting.address,
        port=meeting.port,
        cards=cards,
        memory_level=memory_level,
    )
    with reporting(f"share-{attempt}") as reporter:
        return run_in_child(TRAIN_SHARE, request, settings, reporter, flow_run=flow_run.id).summary()
