"""Training over several machines: what the leading one does beside its own processes (`lead`), and the stage of each other one.

Every machine runs its processes as a training on one machine does (`train_team`); all of them are one team. The first process of the
leading machine alone reads and writes checkpoints and makes the result. Machines hear each other through `runner/meeting.py`; one that is
lost ends the attempt on all, and the training is tried again from its checkpoint.
"""

import shutil
from dataclasses import replace

from flenwheel_core.base.errors import (
    FlenwheelError,
    InputError,
    InterruptedStageError,
    OutOfMemoryError,
    RetryableError,
    first_line,
)
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.requests.train_share import TrainShareRequest, TrainShareResult
from flenwheel_core.runner.meeting import (
    MEETING_SECONDS,
    Meeting,
    Watch,
    announce,
    call_off,
    come_to_table,
    gathering_here,
    open_table,
)
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.train_team import Seats, run_team

END_SECONDS = 10.0
"""How long the leading machine waits for the others to leave."""
WORD_SECONDS = 3.0
"""And for their word, where the attempt failed."""


def lead(request: TrainRequest, context: StageContext) -> TrainResult:
    """Train together with other machines, and keep what was made.

    Raises RetryableError if they do not come, LostMemberError if one is gone, and what was raised on any of them.
    """
    machines = request.recipe.hosts
    told = gathering_here(machines)
    table = open_table(machines)
    watch = Watch(table, 0, told.slots, context.settings.lease_seconds)
    seats = Seats(told.address, table.port, 0, machines)
    try:
        watch.start()
        announce(context.store, request.key(), Meeting(attempt=told.attempt, address=told.address, port=table.port))
        context.progress.note(f"waiting for {', '.join(told.slots[1:])} at {told.address}:{table.port}")
        watch.await_all(MEETING_SECONDS, context.stop, told.address)
        context.check_stop()
        result = run_team(request, context, seats, watch.lost)
        watch.say(None)
        watch.await_ends(END_SECONDS)
    except FlenwheelError as error:
        cause = error
        if isinstance(error, RetryableError) and not isinstance(error, InterruptedStageError):
            cause = watch.cause(error, WORD_SECONDS)
        watch.say(cause)
        watch.await_ends(WORD_SECONDS)
        raise cause from error
    finally:
        call_off(context.store, request.key())
        watch.stop()
    return TrainResult.from_bytes(result.read_bytes(), where="the result of training")


def train_share(request: TrainShareRequest, context: StageContext) -> TrainShareResult:
    """Train along with the leading machine until it is done.

    Raises LostMemberError if that one is gone, and what was raised here.
    """
    silent_seconds = context.settings.lease_seconds
    table = come_to_table(request.address, request.port, silent_seconds)
    slots = ("the leading machine", *("" for _ in range(request.place - 1)), context.settings.slot_name)
    watch = Watch(table, request.place, slots, silent_seconds)
    watch.start()
    try:
        training = context.store.get_request(TrainRequest, request.training)
        if training is None:
            raise InputError(
                f"The store of this machine does not know the training {request.training[:12]}.",
                remedy="Give all machines the same FLENWHEEL_STORE.",
            )
        seats = Seats(request.address, request.port, request.place, training.recipe.hosts)
        run_team(training, replace(context, memory_level=request.memory_level), seats, watch.lost)
    except FlenwheelError as error:
        watch.say(error)
        if isinstance(error, OutOfMemoryError):  # all begin again with a tighter plan, not this machine alone
            raise RetryableError("This machine's card ran out of memory.", why=error.why) from error
        raise
    except Exception as error:
        watch.say(RetryableError(f"its part failed: {first_line(error)}"))
        raise
    finally:
        watch.stop()
        shutil.rmtree(context.scratch / "team", ignore_errors=True)
    watch.say(None)
    return TrainShareResult()
