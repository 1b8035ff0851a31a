"""What the benchmarks of single trainings say of their rows, and that they run at all."""

from pathlib import Path

import pytest

from benchmarks.quality import checkpoint_choice, curriculum, doubtful_pictures, lessons_needed
from benchmarks.quality.lessons_needed import Outcome, Run, rows_of
from benchmarks.quality.one_training import Subject, one_recipe, prepare


def test_a_choice_is_judged_by_the_truth_over_characters() -> None:
    rows = [
        {"case": f"c{number} length 1", "length": 1.0, "beaten": number < 6, "true_pass_rate_last": 0.5}
        | {"true_pass_rate_taken": 0.6 if number < 6 else 0.5, "true_pass_rate_luckiest": 0.6 if number % 2 else 0.4}
        for number in range(8)
    ]
    rows += [
        {"case": f"c0 length 1 step {share}", "share_of_steps": share, "strength": 1.0, "shown": share}
        | {"pass_rate": 0.5, "identity": 0.9, "expression_rate": 1.0, "diversity": 3.0}
        for share in (0.5, 1.0)
    ]
    summary, *curve = checkpoint_choice.summary(rows)
    assert (summary["characters"], summary["beaten"]) == (8, 6)
    assert summary["gain_taken"] == pytest.approx(0.075) and summary["p_value_taken"] == pytest.approx(2 / 64)
    assert summary["gain_luckiest"] == pytest.approx(0) and summary["p_value_luckiest"] == 1
    assert [(row["share_of_steps"], row["shown"]) for row in curve] == [(0.5, 0.5), (1.0, 1.0)]


def test_a_curriculum_is_judged_over_characters() -> None:
    rows = [
        {
            f"{figure}_{arm}": 0.5 + (0.1 if arm == "bodies_later" else 0)
            for figure in ("true_pass_rate", "heads", "bodies")
            for arm in curriculum.ARMS
        }
        for _ in range(6)
    ]
    found = curriculum.summary(rows)
    assert found["gain_true_pass_rate"] == pytest.approx(0.1) and found["p_value_true_pass_rate"] == pytest.approx(
        2 / 64
    )


def test_found_pictures_are_counted_by_kind_at_each_limit() -> None:
    counts = {
        f"{kind}_{name}": 1 if name == "found" else 2
        for kind in doubtful_pictures.KINDS
        for name in ("found", "in_all")
    }
    rows = [{"case": f"c{number}", "limit": 3.0, **counts} for number in range(5)]
    found = next(row for row in doubtful_pictures.summary(rows) if row["case"] == "summary limit 3")
    assert (found["stranger_found"], found["stranger_in_all"], found["stranger_share"]) == (5, 10, 0.5)


def test_editors_are_compared_over_characters() -> None:
    def outcome(arm: str, number: int, bad: tuple[int, ...]) -> Outcome:
        return Outcome(Run(arm, number, 0, None), number, 1, 10, bad, (10,) * len(bad), 6, 1.0, 2.0)

    learned, unseen = (1,) * 6, (2, 2)
    rows = rows_of(
        [
            outcome("", 0, (3,) * 6 + (2, 2)),
            outcome("answer", 30, learned + unseen),
            outcome("preference", 30, learned + unseen),
        ]
    )
    by_case = {row["case"]: row for row in rows}
    gain = by_case["answer 30 against the bare editor"]
    assert gain["fewer_per_100_learned"] == pytest.approx(20) and gain["p_value_learned"] == pytest.approx(2 / 64)
    assert gain["fewer_per_100_unseen"] == pytest.approx(0)
    assert by_case["preference 30 against answer"]["fewer_per_100_learned"] == pytest.approx(0)
    assert by_case["answer 30 seed 0"]["corrections_per_100_learned"] == pytest.approx(10)
    assert lessons_needed.NUMBERS[-1] == 1000


@pytest.mark.slow
def test_held_out_sources_are_never_trained_on_and_planted_pictures_are_known(tmp_path: Path) -> None:
    subject = Subject(tmp_path, 0, one_recipe(10, "cpu"), edits=2, held=3)
    prepared = prepare(subject)
    assert prepared.held_out is not None
    held = {record.digest for record in subject.store.get_images(prepared.held_out)}
    assert len(held) == 3 and not held & {item.image for item in prepared.items(subject)}
    planted, kinds = doubtful_pictures.planted(subject, prepared, 1)
    assert list(kinds.values()).count(doubtful_pictures.STRANGER) == 1
    assert set(kinds) == {item.image for item in planted.items(subject)}
