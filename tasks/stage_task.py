"""Makes a Prefect task out of a stage."""

from contextlib import nullcontext
from functools import partial
from typing import Generic, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flenwheel_core.base.errors import FlenwheelError, RetryableError
from flenwheel_core.base.ids import short
from flenwheel_core.base.settings import Settings
from flenwheel_core.plans.speeds import kind_of_work
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.launch import preparing_next, run_in_child
from flenwheel_core.runner.stage import Stage
from flenwheel_core.store import Store
from tasks.other_machines import shared_attempt
from tasks.progress_artifact import reporting
from tasks.slot import gpu_slot
from tasks.turn_plan import correct_plan

Request = TypeVar("Request", bound=StageRequest)
Result = TypeVar("Result", bound=StageResult)

RETRIES = 2
RETRY_DELAY_SECONDS = 5


class StageTask(Generic[Request, Result]):
    """Call it in a flow with a request to get the result; the run shows as a task run named after the step.

    The stage's manifest is the one record of what is done. A replay, a retry or another run with the same request finds it and
    shows as "Already made" within milliseconds, whatever became of the code meanwhile. Raises the stage's own error.
    """

    def __init__(self, stage: Stage[Request, Result], description: str) -> None:
        self.stage = stage
        self.__doc__ = description
        self._task = Task(
            self._run,
            name=stage.name,
            description=description,
            task_run_name="{label}",
            tags=["gpu"] if stage.uses_gpu else [],
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=RETRIES,
            retry_delay_seconds=RETRY_DELAY_SECONDS,
            retry_condition_fn=worth_a_retry,
        )

    def __call__(self, request: Request, label: str) -> Result:
        """The result of the request; `label` names the task run, such as "train mira-t1-v1"."""
        call = _Call[Request, Result](request)
        self._task(call, label)
        if call.error is not None:
            raise call.error
        assert call.result is not None
        return call.result

    def _run(self, call: "_Call[Request, Result]", label: str) -> "State[object]":
        request, settings = call.request, Settings()
        store = Store(settings.store_url, settings.store_options)
        call.error = None
        try:
            call.result = store.get_result(request, self.stage.result)
            if call.result is not None:
                return Completed(name="Already made", message=call.result.summary())
            work = kind_of_work(request)
            measured = None if work is None else partial(correct_plan, flow_run.id, work)
            with reporting(f"{self.stage.name}-{short(request.key())}", measured) as reporter:
                cards = self.stage.cards(request)
                machines = request.recipe.hosts if isinstance(request, TrainRequest) else 1
                slot = gpu_slot(settings, self.stage.name, reporter, cards, machines) if cards else nullcontext(())
                with slot as slots:
                    sink = preparing_next(reporter, settings)
                    attempt = partial(shared_attempt, settings, request, slots) if len(slots) > 1 else None
                    call.result = run_in_child(
                        self.stage, request, settings, sink, flow_run=flow_run.id, attempt=attempt
                    )
        except FlenwheelError as error:
            call.error = error
            return Failed(message=error.message, data=error)
        return Completed(message=call.result.summary())


class _Call(Generic[Request, Result]):
    """Carries a request in and its result out, past Prefect, which would walk through both to look for futures."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.result: Result | None = None
        self.error: FlenwheelError | None = None


def worth_a_retry(_task: "Task[..., object]", _run: TaskRun, state: "State[object]") -> bool:
    """Not for what will fail again: a user's mistake, a damaged file, a card that is too small."""
    error = state.data
    return not isinstance(error, FlenwheelError) or isinstance(error, RetryableError)
