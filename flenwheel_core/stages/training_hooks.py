"""What the stages that train share."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.runner.stage import StageContext

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
    """Tells the trainer of a stop, and people of its progress."""
    return TrainHooks(
        should_stop=context.stop.is_set,
        on_step=lambda done, loss: context.progress.step(done, steps, "steps", loss=loss),
        note=context.progress.note,
        loading=context.progress.loading,
        team=team,
        score=score,
    )
