"""A training without some of its pictures, which shows what the others alone teach of them."""

import math
from collections.abc import Sequence

from flenwheel_core.documents.doubts import Doubt
from flenwheel_core.requests.train import TrainRequest


def without(request: TrainRequest, doubts: Sequence[Doubt]) -> TrainRequest:
    """The same training up to its last look, in which the doubtful pictures are looked at and never trained on."""
    doubtful, last = {one.image for one in doubts}, max(request.look_at)
    recipe = request.recipe.model_copy(
        update={
            "steps": last,
            "min_epochs": None,
            "warmup_steps": min(request.recipe.warmup_steps, last - 1),
            "schedule": "constant",  # as far as the other had come by then, whose rate had hardly fallen
            "sampling": request.recipe.sampling.model_copy(update={"every_steps": 0}),
        }
    )
    items = tuple(
        item.model_copy(
            update={
                "weight": 0.0 if item.image in doubtful else item.weight,
                "begins": _as_before(item.begins, request, last),
            }
        )
        for item in request.items
    )
    return request.model_copy(
        update={
            "name": f"{request.name}-without",
            "items": items,
            "recipe": recipe,
            "keep_at": (),
            "look_at": (last,),
            "sample_prompts": (),
        }
    )


def _as_before(begins: float, request: TrainRequest, last: int) -> float:
    """The share of `last` steps after which a picture joins at the batch at which it joined before; never, if that came later."""
    if not begins:
        return begins
    accumulated = request.recipe.gradient_accumulation
    batch, batches = math.ceil(begins * request.recipe.steps * accumulated), last * accumulated
    return (min(batch, batches) - 0.5) / batches  # half a batch earlier is rounded up to it, whatever the division lost
