"""What the form of a preview may say."""

import math

import pytest

from flenwheel_core.base.errors import InputError
from tasks.injection import plan_head


@pytest.mark.parametrize("epochs", [-1.0, 0.0, 1e9, math.inf, math.nan])
def test_epochs_that_nothing_can_be_trained_in_are_a_sentence(epochs: float) -> None:
    with pytest.raises(InputError, match="A head cannot be trained in") as refused:
        plan_head.fn("mira", epochs)
    assert "3" in refused.value.message
