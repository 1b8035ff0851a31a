"""The recipe of an order: a recipe of the house with the choices that the order makes."""

import math
from typing import Any

from pydantic import ValidationError

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.orders import TrainOrder
from flenwheel_core.recipes.model import Recipe


def order_recipe(order: TrainOrder, recipe: Recipe) -> Recipe:
    """The recipe with the order's choices. Raises InputError for choices that cannot be trained with, and for too few pictures."""
    pictures = len({picture.image for picture in order.pictures})
    least = max(recipe.ingest.minimum_images, recipe.train.min_images)
    if pictures < least:
        raise InputError(
            f"{pictures} different pictures are too few.",
            why=f"the recipe {recipe.name} asks for {least}.",
            remedy="Send more.",
        )
    content: dict[str, Any] = recipe.model_dump(mode="json")
    train = content["train"]
    for key in ("learning_rate", "steps", "batch_size", "resolution"):
        if getattr(order, key) is not None:
            train[key] = getattr(order, key)
    for key in ("rank", "alpha"):
        if getattr(order, key) is not None:
            train["lora"][key] = getattr(order, key)
    if order.epochs is not None:
        step = train["batch_size"] * recipe.train.gradient_accumulation * recipe.train.processes
        train["steps"] = max(1, math.ceil(order.epochs * pictures / step))
    if order.epochs is not None or order.steps is not None:
        train.pop("min_epochs", None)
        train["warmup_steps"] = min(train["warmup_steps"], train["steps"] - 1)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:3])
        raise InputError("This order cannot be trained.", why=wrong.replace("Value error, ", "")) from None
