"""The rule for editors: only a gain beyond chance promotes."""

import pytest

from flenwheel_core.documents.images import LoraUse, Sampler
from flenwheel_core.evaluation.editors import edit_scorecard
from flenwheel_core.evaluation.promotion.editors import Margins, compare_editors, margins_of, may_be_worn_together
from flenwheel_core.requests.edit_compare import EditCompareRequest, EditorScorecard, EditScore


def card(
    nearnesses: list[float],
    passed: list[bool],
    identity: float = 0.8,
    name: str = "a",
    repeats: int = 1,
    kept: float = 30.0,
) -> EditorScorecard:
    edits = [
        EditScore(
            key=f"{index // repeats}.{index % repeats}",
            image="0" * 64,
            passed=good,
            identity=identity,
            identity_kept=True,
            followed=good,
            target_error=None,
            nearness=near,
            kept_psnr_db=kept,
            kept_ssim=0.9,
        )
        for index, (near, good) in enumerate(zip(nearnesses, passed, strict=True))
    ]
    return edit_scorecard((LoraUse(digest=name * 64),), edits)


def test_a_clear_gain_promotes_and_chance_does_not() -> None:
    champion = card([10.0 + n % 3 for n in range(12)], [n % 2 == 0 for n in range(12)])
    better = card([12.0 + n % 3 for n in range(12)], [True] * 12)
    assert compare_editors(champion, better).promote
    same = card([10.0 + (n + 1) % 3 for n in range(12)], [n % 2 == 1 for n in range(12)])
    verdict = compare_editors(champion, same)
    assert not verdict.promote and "chance" in verdict.reasons[0]
    worse = compare_editors(better, champion)
    assert not worse.promote and worse.nearness_gain < 0


def test_repeats_of_one_edit_are_not_evidence_about_another() -> None:
    champion, challenger = card([10.0] * 12, [False] * 12, repeats=3), card([10.0] * 12, [True] * 12, repeats=3)
    verdict = compare_editors(champion, challenger)
    assert verdict.pass_rate_p_value == pytest.approx(2 / 2**4) and not verdict.promote
    alone = compare_editors(card([10.0] * 12, [False] * 12), card([10.0] * 12, [True] * 12))
    assert alone.pass_rate_p_value == pytest.approx(2 / 2**12, abs=1e-5) and alone.promote


def test_lost_identity_keeps_the_challenger_back() -> None:
    champion, challenger = card([10.0] * 12, [True] * 12), card([15.0] * 12, [True] * 12, identity=0.7)
    verdict = compare_editors(champion, challenger)
    assert verdict.nearness_p_value < 0.01 and not verdict.promote
    assert compare_editors(champion, card([15.0] * 12, [True] * 12)).promote


def test_nearness_counts_only_where_no_fewer_edits_pass() -> None:
    champion = card([-9.0] * 12, [True] * 12)
    assert not compare_editors(champion, card([0.0] * 12, [True] * 11 + [False])).promote
    assert not compare_editors(card([0.0] * 12, [False] * 12), card([-9.0] * 12, [True] * 12)).promote


def test_the_rest_of_the_picture_may_lose_as_much_as_the_recipe_allows() -> None:
    champion, challenger = card([10.0] * 12, [False] * 12, kept=34.0), card([10.0] * 12, [True] * 12, kept=32.5)
    assert not compare_editors(champion, challenger).promote
    assert compare_editors(champion, challenger, Margins(kept_db=2.0)).promote
    assert not compare_editors(champion, challenger, Margins(kept_db=1.0)).promote


def test_identity_and_p_values_count_as_the_recipe_says() -> None:
    champion = card([10.0] * 12, [False] * 12)
    weaker = card([10.0] * 12, [True] * 12, identity=0.75)
    assert not compare_editors(champion, weaker).promote
    assert compare_editors(champion, weaker, Margins(identity=0.06)).promote
    few = card([10.0] * 4, [False] * 4), card([10.0] * 4, [True] * 4)  # p = 0.125
    assert not compare_editors(*few).promote and compare_editors(*few, Margins(significance=0.2)).promote


def test_a_request_that_leaves_the_margins_open_is_the_one_that_was_stored_before() -> None:
    asked = EditCompareRequest(items=(), editor="nano", challenger=(), verifier="nano", sampler=Sampler())
    assert margins_of(asked) == Margins(significance=0.05, identity=0.02, kept_db=0.5)
    assert not {"significance", "identity_margin", "kept_margin_db"} & set(asked.model_dump())
    strict = asked.model_copy(update={"significance": 0.01, "identity_margin": 0.0})
    assert margins_of(strict) == Margins(significance=0.01, identity=0.0)
    assert strict.content_digest() != asked.content_digest()


def test_an_editor_that_passes_fewer_edits_is_kept_back_for_that() -> None:
    """Nearer beyond chance, so that nothing else keeps it back; one edit fewer is no more than chance."""
    verdict = compare_editors(card([-9.0] * 12, [True] * 12), card([0.0] * 12, [True] * 11 + [False]))
    assert not verdict.promote and verdict.pass_rate_p_value > 0.05
    assert verdict.reasons[0].startswith("A gain") and verdict.reasons[1] == "It passes fewer edits."


def test_approved_edits_have_no_nearness() -> None:
    """Their right answer is the old editor's own picture, and nothing was rejected."""
    champion, challenger = card([None] * 12, [False] * 12), card([None] * 12, [True] * 12)  # type: ignore[list-item]
    verdict = compare_editors(champion, challenger)
    assert verdict.nearness_gain is None and verdict.promote
    assert not compare_editors(champion, champion).promote


def test_loras_may_be_worn_together_where_nothing_is_shown_to_be_worse() -> None:
    alone = card([10.0] * 12, [n % 2 == 0 for n in range(12)])
    same = may_be_worn_together(alone, card([10.0] * 12, [n % 2 == 0 for n in range(12)], identity=0.79, kept=29.8))
    assert same.allowed and "50% with the editor's LoRA alone, 50%" in same.reasons[0]
    assert may_be_worn_together(alone, card([10.0] * 12, [n == 0 or n % 2 == 0 for n in range(12)])).allowed
    fewer = may_be_worn_together(card([10.0] * 12, [True] * 12), card([10.0] * 12, [n > 7 for n in range(12)]))
    assert not fewer.allowed and "100% with" in fewer.reasons[0]
    one_less = may_be_worn_together(card([10.0] * 12, [True] * 12), card([10.0] * 12, [n > 0 for n in range(12)]))
    assert one_less.allowed, "chance explains it"
    for worse in (card([10.0] * 12, [True] * 12, identity=0.7), card([10.0] * 12, [True] * 12, kept=29.0)):
        assert not may_be_worn_together(card([10.0] * 12, [True] * 12), worse).allowed
