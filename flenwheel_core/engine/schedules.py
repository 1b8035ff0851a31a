"""The learning rate as a pure function of the step: resume needs no scheduler state."""

import math

from flenwheel_core.recipes.train import Schedule


def learning_rate_factor(step: int, *, steps: int, warmup_steps: int, schedule: Schedule, floor: float = 0.1) -> float:
    """The factor on the peak learning rate at `step` (from 0): linear warmup, then the schedule.

    Cosine and linear fall to `floor`, not to zero: the last steps should still learn.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup_steps) / max(1, steps - warmup_steps))
    fall = 0.5 * (1 + math.cos(math.pi * progress)) if schedule == "cosine" else 1 - progress
    return floor + (1 - floor) * fall
