"""What the stages that train share."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.runner.stage import StageContext

SHARE_OF_INTERVAL = 0.8
"""The rest is for sending it to the store, so that what lies there is never older than the interval."""

if TYPE_CHECKING:
    from PIL.Image import Image

    from flenwheel_core.engine.team import Team


def training_hooks(
    context: StageContext,
    steps: int,
    *,
    team: "Team | None" = None,
    score: "Callable[[Sequence[Image]], Mapping[str, float]] | None" = None,
) -> TrainHooks:
    """Tells the trainer of a stop, and people of its progress; states that go to the store are made often enough for it."""
    kept_for = context.settings.checkpoint_seconds
    return TrainHooks(
        should_stop=context.stop.is_set,
        on_step=lambda done, loss: context.progress.step(done, steps, "steps", loss=loss),
        note=context.progress.note,
        loading=context.progress.loading,
        team=team,
        score=score,
        save_seconds=None if kept_for is None else kept_for * SHARE_OF_INTERVAL,
    )
