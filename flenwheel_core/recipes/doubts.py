"""The choices about doubtful pictures: whether a training looks for them, and when one comes back to a person."""

import math
from typing import Annotated

from pydantic import Field

from flenwheel_core.base.document import Document

NOISES = 4
"""Noise levels that each picture is looked at with, spread over the density that is trained."""


class DoubtsRecipe(Document):
    """A picture of somebody else, let in by mistake, is learned less than the others, and later: it is brought back to the next gate."""

    look: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(),
        max_length=4,
        description="Shares of a training after which it is measured how far each picture is learned, such as [0.05, 0.25]; none: nothing "
        "is looked for. The first tells most: later on wrong pictures are known by heart, too.",
    )
    limit: float = Field(
        default=3.0,
        gt=0,
        le=20,
        description="A picture is doubtful if it is learned less than its like by so many (robust) standard deviations.",
    )
    most: int = Field(
        default=6, ge=1, le=100, description="Doubtful pictures that are brought to a gate, at most; the worst ones."
    )
    leave_out: bool = Field(
        default=False,
        description="Train once more without them, up to the last look, and show how far they are learned from the others alone.",
    )

    def steps(self, steps: int) -> tuple[int, ...]:
        """The steps after which a training of `steps` looks."""
        return tuple(sorted({max(1, round(share * steps)) for share in self.look}))

    def passes(self, steps: int, batch_size: int) -> int:
        """Passes of the model forward that a training takes for each picture, at most: the first look also measures the base, and so does
        that of the training without doubtful pictures.
        """
        looks, once = len(self.steps(steps)), math.ceil(NOISES / batch_size)
        return once * (looks + 1 + (2 if self.leave_out else 0)) if looks else 0


def is_default(value: object) -> bool:
    """For `exclude_if`: a recipe that says nothing of it keeps the digest it had before."""
    return value == DoubtsRecipe()
