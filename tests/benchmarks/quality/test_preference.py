"""The comparison of ways to teach an editor: what is counted, and which lessons a smaller number takes."""

from pathlib import Path

from benchmarks.quality.preference import Verdicts, arms, first_lessons
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.nano.reviewer import Judged
from flenwheel_core.store import Store
from flenwheel_core.store.triplets import get_triplets, put_triplets


def verdicts(text: str) -> tuple[Judged, ...]:
    """`+` is taken as it is, `-` needs a correction."""
    return tuple(
        Judged("i", Verdict.GOOD, (), 0.9)
        if sign == "+"
        else Judged("i", Verdict.NEEDS_CORRECTION, ("expression",), 0.7)
        for sign in text
    )


def test_corrections_are_counted_by_kind_of_character_and_paired_with_another_editors() -> None:
    before, after = Verdicts(verdicts("+---"), verdicts("-+")), Verdicts(verdicts("-+++"), verdicts("++"))
    found = after.figures(before)
    assert (found["corrections_per_100_learned"], found["corrections_per_100_unseen"]) == (25.0, 0.0)
    assert (found["better"], found["worse"]) == (4, 1)
    assert found["missed_expression"] == 1 / 6 and found["missed_identity"] == 0
    low, high = found["corrections_low_learned"], found["corrections_high_learned"]
    assert low is not None and high is not None and low < 25 < high
    assert "p_value" not in before.figures(None)


def test_a_smaller_number_of_lessons_comes_from_all_characters(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    given = [
        Triplet(
            source=str(index) * 64,
            prompt="p",
            target="a" * 64,
            kind="approved",
            character=name,
            turn=1,
            gate="g",
            author="a",
        )
        for index, name in enumerate("vvvvw")
    ]
    few = get_triplets(store, first_lessons(store, put_triplets(store, given), 3)).triplets
    assert sorted(triplet.character for triplet in few) == ["v", "v", "w"]


def test_every_way_of_teaching_has_an_arm() -> None:
    assert {arm.teach for arm in arms().values()} == {None, "comparison", "both"}
    assert arms()["both_500"].trial(300, None).editor["comparison_strength"] == 500.0
