"""The ladder on ratings of people: what is read from the files, what is held out together, and that other files are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import critic_public
from benchmarks.quality.critic_public import TASKS, Source, lessons_of, measured, ratings, rung_rows, spared_at, turn_of
from flenwheel_core.documents.decisions import Verdict

SUBJECTS = TASKS[0]
SAMPLES = [f"sample_{number}.jpg" for number in range(50)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten subjects of five prompts each, drawn by two methods: who looks like the subject is good. One method was never measured."""
    random = np.random.default_rng(3)
    work = tmp_path / "paper_implementation"
    rated = work / "_human_annotations/ImagenHub_human_eval_results" / SUBJECTS.folder
    figures = work / "_answers/results_autometrics" / SUBJECTS.folder
    rated.mkdir(parents=True)
    figures.mkdir(parents=True)
    likeness = {(method, sample): float(random.random()) for method in ("DreamBooth", "Other") for sample in SAMPLES}
    for method in ("DreamBooth", "Other"):
        row = {sample: {"DINO": likeness[method, sample], "CLIP_I": 0.5} for sample in SAMPLES}
        (figures / f"{method}.json").write_text(json.dumps(row))
    for rater, limit in ((1, 0.5), (2, 0.5), (3, 0.8)):
        lines = ["uid\tDreamBooth\tOther\tUnmeasured"]
        for sample in SAMPLES:
            said = ["[1, 1]" if likeness[method, sample] > limit else "[0.5, 0]" for method in ("DreamBooth", "Other")]
            lines.append("\t".join([sample, *said, "[1, 0.5]"]))
        (rated / f"Subject-Driven_IG_rater{rater}.tsv").write_text("\n".join(lines))
    return tmp_path


def test_the_lower_of_both_ratings_is_the_verdict(folder: Path) -> None:
    said = ratings(Source(folder), SUBJECTS, 1)
    assert said["Unmeasured", SAMPLES[0]] is Verdict.NEEDS_CORRECTION
    assert {said["DreamBooth", sample] for sample in SAMPLES} == {Verdict.GOOD, Verdict.REJECT}


def test_pictures_of_one_subject_or_photo_are_of_one_turn() -> None:
    turns = turn_of(SUBJECTS, sorted(SAMPLES))
    assert [turns[f"sample_{number}.jpg"] for number in (0, 4, 5, 9, 24, 25)] == [1, 1, 2, 2, 5, 1]
    edits = turn_of(TASKS[1], ["sample_9_1.jpg", "sample_10_1.jpg", "sample_9_3.jpg"])
    assert edits == {"sample_9_1.jpg": 1, "sample_9_3.jpg": 1, "sample_10_1.jpg": 2}


def test_a_rung_that_reads_what_decides_beats_the_base_rate(folder: Path) -> None:
    source = Source(folder)
    measures = measured(source, SUBJECTS)
    by_rater = [lessons_of(SUBJECTS, ratings(source, SUBJECTS, rater), measures, {}) for rater in (1, 3)]
    assert len(by_rater[0]) == 100, "the method that nobody measured is left out"
    found = {row["case"]: row for row in rung_rows(SUBJECTS, "", by_rater)}
    base, identity = found["subjects, base rate"], found["subjects, identity"]
    assert base["gain"] == 0 and float(identity["gain_low"] or 0) > 0.2 and float(identity["auc"] or 0) > 0.95
    agreed = critic_public.agreement_row(SUBJECTS, by_rater)
    assert agreed["lost_by_other_least"] == 0.0 and 0.4 < float(agreed["lost_by_other_most"] or 0) < 0.8


def test_what_could_be_spared_in_hindsight() -> None:
    good = np.array([False, False, True, False, True])
    assert spared_at(np.arange(5.0), good, 0.0) == pytest.approx(0.4)
    assert spared_at(np.arange(5.0), good, 0.5) == pytest.approx(0.8)


def test_other_files_than_those_measured_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(critic_public, "TASKS", TASKS[:1])
    monkeypatch.setattr(critic_public, "LOOKERS", {"": "nobody looked"})
    with pytest.raises(SystemExit, match="others than those measured"):
        list(critic_public.rows(folder))
