"""Columns of what is known of pictures."""

from flenwheel_core.critic.columns import apply, learn
from tests.kit.critic_world import eyes, lessons


def test_pictures_that_nobody_embedded_have_no_columns_of_that_block() -> None:
    """It ended the learning of a turn in which nothing had been embedded yet."""
    some = lessons(24)
    assert apply("embedding", learn("embedding", some, {}), some, {}).shape == (24, 0)
    known = eyes(some)
    assert apply("embedding", learn("embedding", some, known), some, known).shape == (24, 3)
