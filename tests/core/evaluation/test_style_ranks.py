import numpy as np
import pytest

from flenwheel_core.evaluation.style_ranks import KNOWN_FROM, Vectors, style_rank


def around(centre: int, number: int, seed: int, spread: float = 0.3) -> Vectors:
    """Unit vectors about an axis of 16."""
    found = np.random.default_rng(seed).normal(0, spread, (number, 16))
    found[:, centre] += 1
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def test_pictures_in_the_style_rank_high_and_others_do_not() -> None:
    paintings, others = around(0, 30, 1), around(1, 30, 2)
    styled, plain, random = around(0, 20, 3), around(1, 20, 4), around(5, 20, 5)
    asked = [styled, plain, random]
    assert style_rank(styled, paintings, others, asked) > 0.9
    assert style_rank(plain, paintings, others, asked) < 0.1
    assert style_rank(random, paintings, others, asked) == pytest.approx(0.5, abs=0.2)


def test_descriptors_that_see_no_style_are_found_out_by_its_own_paintings() -> None:
    """All are about one axis: what differs is chance."""
    own, paintings, others = (around(0, 30, seed) for seed in (1, 2, 3))
    assert style_rank(own, paintings, others, [own, around(0, 30, 4)]) < KNOWN_FROM


def test_descriptors_of_real_length_that_know_nothing_give_a_half() -> None:
    chance = np.random.default_rng(0)

    def anything(number: int) -> Vectors:
        found = chance.normal(size=(number, 768)) + 1.0
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))

    own, paintings, others, further = anything(40), anything(40), anything(40), anything(40)
    assert style_rank(own, paintings, others, [own, further]) == pytest.approx(0.5, abs=0.05)
    assert style_rank(own, paintings, others, [own, others]) == pytest.approx(0.5, abs=0.05), "also where others ask"
    assert style_rank(others, paintings, others, [others]) < 0.5, (
        "pictures that are the others' own are nearest to them"
    )


def test_a_painting_that_is_near_to_everything_counts_for_less() -> None:
    paintings, others = around(0, 10, 1, 0.6), around(0, 10, 2, 0.05)  # the others are in the middle of all
    pictures = around(0, 20, 3, 0.6)
    plain = np.mean(
        [
            (one[:, None] > two[None]).mean()
            for one, two in zip(pictures @ paintings.T, pictures @ others.T, strict=True)
        ]
    )
    assert plain < 0.2 < style_rank(pictures, paintings, others, [pictures])
