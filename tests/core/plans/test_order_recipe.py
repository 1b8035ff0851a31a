"""The recipe of an order: the house's, with what the order chooses."""

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.orders import OrderPicture, TrainOrder
from flenwheel_core.plans.order_recipe import order_recipe
from flenwheel_core.recipes.loading import load_recipe

NANO = load_recipe("nano")


def order(pictures: int = 12, **more: object) -> TrainOrder:
    shown = tuple(OrderPicture(image=f"{number:064x}") for number in range(pictures))
    fixed = {"id": "a1", "trigger": "ohwx_char", "class_word": "cat", "kind": "subject", "recipe": "nano"}
    return TrainOrder.model_validate({**fixed, "pictures": shown, **more})


def test_what_is_not_chosen_is_the_recipes() -> None:
    assert order_recipe(order(), NANO) == NANO


def test_choices_of_the_document_become_those_of_the_recipe() -> None:
    made = order_recipe(order(rank=8, alpha=4.0, learning_rate=5e-5, epochs=2, batch_size=3, resolution=64), NANO).train
    assert (made.lora.rank, made.lora.alpha, made.learning_rate) == (8, 4.0, 5e-5)
    assert (made.batch_size, made.resolution, made.steps) == (3, 64, 8) and made.min_epochs is None
    assert made.warmup_steps < made.steps
    assert order_recipe(order(steps=7), NANO).train.steps == 7


def test_what_cannot_be_trained_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="too few") as caught:
        order_recipe(order(3), NANO)
    assert f"asks for {max(NANO.ingest.minimum_images, NANO.train.min_images)}" in caught.value.why
    with pytest.raises(InputError, match="cannot be trained") as caught:
        order_recipe(order(learning_rate=5.0), NANO)
    assert "far too high" in caught.value.why


def test_a_picture_that_is_sent_twice_counts_once() -> None:
    one = order(1).pictures[0]
    with pytest.raises(InputError, match="1 different"):
        order_recipe(order().model_copy(update={"pictures": (one,) * 12}), NANO)
