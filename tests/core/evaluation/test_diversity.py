"""The Vendi score: known values, and what it must say of poor and rich sets of pictures."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.quality.diversity_kernel import CHARACTERS, FIRST_CHARACTER, card_views, thumbnails
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS
from flenwheel_core.evaluation.diversity import diversity, vendi_score
from flenwheel_core.images.quality import measure
from flenwheel_core.nano.world import HELD_OUT_FROM, View, make_character, render
from flenwheel_core.recipes.benchmark import BenchmarkRecipe


def noise(seed: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(seed).integers(0, 256, size=(32, 32, 3)).astype(np.uint8)


def test_all_different_count_all_and_all_alike_count_one() -> None:
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((7, 7))) == pytest.approx(1)


def test_two_groups_count_two() -> None:
    kernel = np.kron(np.eye(2), np.ones((5, 5)))
    assert vendi_score(kernel) == pytest.approx(2)


def test_pictures_shown_twice_add_nothing() -> None:
    pictures = [noise(seed) for seed in range(6)]
    assert diversity(pictures + pictures) == pytest.approx(diversity(pictures), rel=1e-6)
    assert diversity(pictures) == pytest.approx(6, abs=0.2)


def test_pictures_drawn_together_are_less_diverse() -> None:
    pictures = [noise(seed).astype(float) for seed in range(8)]
    mean = np.mean(pictures, axis=0)
    scores = [
        diversity([(mean + (picture - mean) * share).astype(np.uint8) for picture in pictures])
        for share in (1.0, 0.1, 0.05, 0.0)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == pytest.approx(1, abs=1e-6)


def portraits(seed: int, top: str) -> list[np.ndarray]:  # type: ignore[type-arg]
    character, rng = make_character(seed), np.random.default_rng(seed)
    views = [
        View(angle=angle, expression=expression, background="studio", clothing=top, seed=int(rng.integers(1 << 30)))
        for angle in ANGLES
        for expression in EXPRESSIONS
    ]
    return [measure(render(character, view)).thumbnail for view in views]


def test_a_character_in_its_own_clothes_is_not_poor() -> None:
    own, changing = portraits(HELD_OUT_FROM, "blue shirt"), portraits(HELD_OUT_FROM, "blue shirt")
    changing[::3] = portraits(HELD_OUT_FROM, "red shirt")[::3]
    assert diversity(own) > 0.9 * diversity(changing), "the same portraits: which clothes they show is another question"


def test_pictures_drawn_nearly_alike_are_copies() -> None:
    pictures, rng = portraits(HELD_OUT_FROM, "blue shirt"), np.random.default_rng(0)
    half = [pictures[number % 10].astype(float) + rng.normal(0, 3, size=(32, 32, 3)) for number in range(20)]
    poor = [np.clip(picture, 0, 255).astype(np.uint8) for picture in half]
    assert diversity(poor) < 0.7 * diversity(pictures)


def test_one_view_for_all_is_a_collapse_and_learned_clothes_are_none() -> None:
    recipe, views = BenchmarkRecipe(), list(card_views())
    seed = FIRST_CHARACTER + CHARACTERS  # none of those that the kernel was chosen on
    own = diversity(thumbnails(seed, views))
    one_view = diversity(thumbnails(seed, [replace(views[0], seed=view.seed) for view in views]))
    other_clothes = [
        replace(view, clothing="red shirt" if place % 3 == 0 else None) for place, view in enumerate(views)
    ]
    assert one_view < own * (1 - recipe.collapse_diversity_drop)
    assert own > diversity(thumbnails(seed, other_clothes)) * (1 - recipe.diversity_margin / 2)


def test_no_pictures_have_no_diversity() -> None:
    assert diversity([]) == 0.0
