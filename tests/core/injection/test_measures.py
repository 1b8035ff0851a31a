"""Figures of an injection, and the sentence that they allow."""

import numpy as np

from flenwheel_core.documents.images import Labels
from flenwheel_core.injection.measures import Shown, best_gain, figures_of, kept_share, verdict
from flenwheel_core.requests.inject import InjectionCell, Method


def shown(
    method: Method, alpha: float, likeness: float | None, *, known: bool = False, kept: float | None = 1.0
) -> list[Shown]:
    cells = [
        InjectionCell(
            image=f"{seed}" * 64,
            identity="one",
            method=method,
            alpha=alpha,
            prompt=0,
            seed=seed,
            likeness=likeness,
            to_photos=None if likeness is None else likeness + 0.1,
            kept=kept,
            sharpness=10.0,
        )
        for seed in (1, 2)
    ]
    return [Shown(cell, known, np.full((32, 32, 3), 120 * cell.seed, np.uint8)) for cell in cells]


def sentence(*groups: list[Shown]) -> str:
    return verdict(figures_of([one for group in groups for one in group]))


WITHOUT = shown("injection", 0, 0.0)


def test_it_works_only_above_shuffled_photos() -> None:
    works = sentence(WITHOUT, shown("injection", 1, 0.9), shown("shuffled", 1, 0.2))
    assert works.startswith("Works for identities it had not seen: +0.70")
    everybody = sentence(WITHOUT, shown("injection", 1, 0.9), shown("shuffled", 1, 0.85))
    assert everybody.startswith("Does not work") and "+0.05" in everybody


def test_a_strength_that_loses_the_prompt_does_not_count() -> None:
    figures = figures_of(
        [
            *WITHOUT,
            *shown("injection", 0.5, 0.5),
            *shown("shuffled", 0.5, 0.0),
            *shown("injection", 1, 0.9, kept=0.5),
            *shown("shuffled", 1, 0.0),
        ]
    )
    best = best_gain(figures, known=False)
    assert best is not None and (best.alpha, best.works) == (0.5, True)
    lost = figures_of([*WITHOUT, *shown("injection", 1, 0.9, kept=0.5), *shown("shuffled", 1, 0.0)])
    best = best_gain(lost, known=False)
    assert best is not None and not best.works and best.lost == 0.5


def test_known_and_unknown_identities_are_apart() -> None:
    said = sentence(
        WITHOUT,
        shown("injection", 1, 0.1),
        shown("shuffled", 1, 0.0),
        shown("injection", 1, 0.9, known=True),
        shown("shuffled", 1, 0.1, known=True),
    )
    assert said.startswith("Works for the identities it learned from only: +0.80") and "does not: +0.10" in said


def test_who_the_head_learned_from_may_not_be_known() -> None:
    groups = shown("injection", 1, 0.9), shown("shuffled", 1, 0.1), WITHOUT
    unsaid = [Shown(one.cell, None, one.thumbnail) for group in groups for one in group]
    said = verdict(figures_of(unsaid))
    assert said.startswith("Works, for identities of which the head does not say") and "+0.80" in said
    assert "not seen" not in said and "learned from only" not in said


def test_a_loss_of_nothing_is_no_negative_number() -> None:
    said = sentence(
        shown("injection", 0, 0.0, kept=1.0), shown("injection", 1, 0.9, kept=0.999), shown("shuffled", 1, 0.1)
    )
    assert "prompts followed +0 points" in said
    assert "prompts followed +0 points" in sentence(WITHOUT, shown("injection", 1, 0.9), shown("shuffled", 1, 0.1))


def test_nothing_measured_is_said() -> None:
    assert "Nothing was measured" in sentence(shown("injection", 0, None), shown("injection", 1, None))


def test_figures_are_means_of_a_group() -> None:
    (row,) = figures_of(shown("injection", 1, 0.5), {1: 30.0})
    assert (row.pictures, row.identities, row.identity, row.turned_degrees) == (2, 1, 0.5, 30.0)
    assert row.copy_paste == 0.1 and 0.5 < row.diversity <= 1
    (alike,) = figures_of([shown("caption", 0, 0.5)[0]] * 2)
    assert alike.diversity == 0.5


def test_what_is_asked_for_is_looked_for() -> None:
    asked = Labels(angle="front", expression="smiling")
    assert kept_share(asked, Labels(angle="front", expression="sad")) == 0.5
    assert kept_share(asked, Labels()) == 0.0 and kept_share(Labels(), Labels(angle="front")) is None
