"""The captioner's training; that of the first turn is killed once in its middle. It runs in the real worker process."""

import os
import signal
import time
from dataclasses import replace

from flenwheel_core.base.progress import Progress, ProgressEvent
from flenwheel_core.requests.vl_train import VlTrainRequest, VlTrainResult
from flenwheel_core.runner.stage import CHECKPOINTS, VL_TRAIN, StageContext, register
from flenwheel_core.stages.vl_train import vl_train as real_vl_train

WALKED = "walked.txt"
"""In a training's scratch folder: a line a step, with the process that did it."""


def vl_train(request: VlTrainRequest, context: StageContext) -> VlTrainResult:
    """The real training. The first turn's first process kills itself at the first step after a checkpoint lies there."""
    walked = context.scratch / WALKED
    first = request.name.endswith("-1") and not walked.exists()

    def saved() -> bool:
        return any(context.scratch.glob(CHECKPOINTS))

    def watch(event: ProgressEvent) -> None:
        if event.kind == "step":
            with walked.open("a") as file:
                file.write(f"{os.getpid()} {event.done}\n")
            last = event.done == event.total - 1
            while first and last and not saved():
                time.sleep(0.05)  # a thread writes it
            if first and saved():
                os.kill(os.getpid(), signal.SIGKILL)
        context.progress.step(event.done, event.total, event.unit, loss=event.loss)

    return real_vl_train(request, replace(context, progress=Progress(VL_TRAIN.name, watch, interval_seconds=0.0)))


register(replace(VL_TRAIN, body="tests.kit.captioner_stages:vl_train"))
