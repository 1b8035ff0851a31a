"""Columns of what is known of pictures."""

import math

import pytest

from flenwheel_core.critic.columns import apply, learn, screening_figures
from flenwheel_core.documents.images import Labels
from tests.kit.critic_world import eyes, lessons


def test_pictures_that_nobody_embedded_have_no_columns_of_that_block() -> None:
    """It ended the learning of a turn in which nothing had been embedded yet."""
    some = lessons(24)
    assert apply("embedding", learn("embedding", some, {}), some, {}).shape == (24, 0)
    known = eyes(some)
    assert apply("embedding", learn("embedding", some, known), some, known).shape == (24, 3)
    assert apply("embedding", learn("embedding", some, {}), some, known).shape == (24, 0)
    assert apply("embedding", learn("embedding", [], known), some, known).shape == (24, 0)


def test_a_spoiled_face_and_a_brightness_far_from_middling_are_figures() -> None:
    """A linear model of the brightness alone cannot dislike both ends."""
    one = lessons(1)[0]
    assert one.screening is not None
    dark, bright, spoiled = (
        screening_figures(one.model_copy(update={"screening": one.screening.model_copy(update=changed)}))
        for changed in ({"brightness": 0.0}, {"brightness": 255.0}, {"spoiled": 0.9, "brightness": 127.5})
    )
    assert dark["far too dark or bright"] == bright["far too dark or bright"] == pytest.approx(0.25)
    assert spoiled["far too dark or bright"] == 0 and spoiled["spoiled"] == pytest.approx(math.log(9))
    assert math.isnan(dark["spoiled"])


def test_the_distance_counts_by_the_angle_that_was_asked_for() -> None:
    one = lessons(1)[0].model_copy(update={"asked": Labels(angle="profile-left")})
    known = screening_figures(one)
    assert known["identity, asked profile-left"] == known["identity"] and known["identity, asked front"] == 0
