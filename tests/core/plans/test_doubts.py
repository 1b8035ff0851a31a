"""A training without the doubtful pictures is, up to its last look, the one that found them."""

from pathlib import Path

import pytest

from flenwheel_core.documents.doubts import CoursePoint, Doubt
from flenwheel_core.engine.order import order_of
from flenwheel_core.plans.doubts import without
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.store import Store
from tests.kit.short_training import request

BEGINS = (0.0, 0.0, 0.0, 0.13, 0.4, 0.9)


def joins(asked: TrainRequest, batches: int) -> list[int | None]:
    """The batch at which each picture is first seen, where a batch holds all that have joined; None if it is not by then."""
    order = order_of(
        ["a"] * len(asked.items),
        [1.0 for _ in asked.items],
        [item.begins for item in asked.items],
        batch_size=len(asked.items),
        seed=3,
        batches=asked.recipe.steps * asked.recipe.gradient_accumulation,
    )
    seen = [set(order.batch(index)) for index in range(batches)]
    return [next((i for i, batch in enumerate(seen) if item in batch), None) for item in range(len(asked.items))]


@pytest.mark.parametrize(("steps", "last", "accumulated"), [(1000, 500, 1), (700, 300, 3), (37, 16, 1)])
def test_pictures_join_at_the_same_step(tmp_path: Path, steps: int, last: int, accumulated: int) -> None:
    whole = request(Store(tmp_path.as_uri()))
    recipe = whole.recipe.model_copy(update={"steps": steps, "gradient_accumulation": accumulated})
    items = tuple(item.model_copy(update={"begins": begins}) for item, begins in zip(whole.items, BEGINS, strict=True))
    whole = whole.model_copy(update={"recipe": recipe, "items": items, "look_at": (last // 2, last)})
    point = CoursePoint(step=last // 2, gain=0.1, usual=0.6)
    doubt = Doubt(image=items[1].image, training="v1", course=(point,), deviations=4.0, like="heads like it")
    part = TrainRequest.model_validate(without(whole, [doubt]).model_dump())
    assert [item.weight for item in part.items] == [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    before = joins(whole, last * accumulated)
    assert joins(part, last * accumulated) == before
    assert before[3] and before[4] and before[5] is None, "one comes late, one later, and one after the last look"
