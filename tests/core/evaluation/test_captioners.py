"""Captions are scored by people's words, by the labels they state, by the character's name, and by what they must not say."""

import pytest

from flenwheel_core.evaluation.captioners import compare_captions, score_captions, word_f1
from flenwheel_core.requests.caption_compare import ComparedCaption

RIGHT = "photo of ohwx_mira person, smiling, front view, forest background"
ITEMS = [
    ComparedCaption(image=f"{number:064x}", caption=RIGHT, trigger="ohwx_mira", corrected=True) for number in range(12)
]
BARE = "a woman with green eyes, smiling, front view, forest background"


@pytest.mark.parametrize(("said", "f1"), [(RIGHT, 1.0), ("", 0.0), ("smiling smiling", 2 / 11), (RIGHT.upper(), 1.0)])
def test_words_count_as_often_as_they_stand_there(said: str, f1: float) -> None:
    assert word_f1(said, RIGHT) == pytest.approx(f1)


def test_a_captioner_that_says_what_people_write_is_promoted() -> None:
    old, new = score_captions(ITEMS, [BARE] * 12), score_captions(ITEMS, [RIGHT] * 12)
    assert (old.named, old.with_traits, old.labels_right) == (0, 1, 1)
    assert (new.named, new.with_traits, new.words) == (1, 0, 1) and old.captions[0].traits == ("with green eyes",)
    found = compare_captions(old, new, 0.05)
    assert found.promote and found.words_p_value < 0.01 and "nearer to people's captions" in found.reasons[0]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (BARE, "not shown to be nearer"),
        (RIGHT.replace("smiling", "sad").replace("front view", "profile left view"), "reads pictures worse"),
        (RIGHT + ", blue eyes", "what the trigger is to learn"),
    ],
)
def test_one_that_is_no_better_or_worse_in_any_way_is_kept_back(said: str, why: str) -> None:
    old = score_captions(ITEMS, ["smiling, front view, forest background"] * 12)
    found = compare_captions(old, score_captions(ITEMS, [said] * 12), 0.05)
    assert not found.promote and any(why in reason for reason in found.reasons)


def test_few_pictures_prove_nothing() -> None:
    old, new = score_captions(ITEMS[:3], [BARE] * 3), score_captions(ITEMS[:3], [RIGHT] * 3)
    assert not compare_captions(old, new, 0.05).promote
