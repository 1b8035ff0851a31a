"""The critic's ladder on verdicts that real people gave: drawings of a subject with its LoRA or its like, and edits, three raters each.

    git clone https://github.com/TIGER-AI-Lab/VIEScore FOLDER       # MIT licence; files are checked against one digest
    python -m benchmarks.quality.critic_public FOLDER               # a minute or two, no pictures needed

The ratings are ImagenHub's (Ku and others, 2024): from 0 to 1 for what was asked, and for how it looks. The lower of both is taken as the
verdict: 1 is good, 0.5 needs correction, 0 is rejected. Its pictures are not at hand, so screening knows only what was measured by others
(DINO and CLIP likeness to the subject, or LPIPS to the source), nothing is embedded, and the rung `vision` is what a vision-language model
said that had learned nothing. A rater is a reviewer with a critic of their own; a turn is a fifth of the subjects or sources, and all
figures are of turns that were not learned.
"""

import argparse
import ast
import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.result_file import Row, write_result
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.base.statistics import bootstrap_interval, sign_flip_test, wilson
from flenwheel_core.critic.calibration import Wanted, not_rejected
from flenwheel_core.critic.ladder import area_under_curve, log_losses, means_by_unit, train_critic, units_of
from flenwheel_core.critic.logistic import Array
from flenwheel_core.critic.order import Known, Rules, view_gate
from flenwheel_core.critic.rungs import RUNGS, ask, fit_rung
from flenwheel_core.documents.critics import CriticLesson, RungName
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.scores import Screening

FILES_DIGEST = "3f79258c38c6aaf9fbe235e7bf12de2c36681f22a5e0ea40f4ad9786d5f063c1"
RATERS, TURNS = (1, 2, 3), 5
RECORD = "0" * 64
VERDICT_OF = {0.0: Verdict.REJECT, 0.5: Verdict.NEEDS_CORRECTION, 1.0: Verdict.GOOD}
LOOKERS = {"": "nobody looked", "qwenvl": "Qwen-VL looked", "gpt4o": "GPT-4o looked"}
PLAIN: tuple[RungName, ...] = ("base_rate", "identity", "screening")
LOOKED: tuple[RungName, ...] = ("vision", "stacked")
LOST, MOST_LOST = 0.01, 0.05
"""Shares of good pictures: lost with the limit chosen in hindsight, and allowed where a bound has to prove it."""


@dataclass(frozen=True)
class Task:
    """A kind of pictures that were rated."""

    name: str
    folder: str
    ratings: str
    alike: int
    """So many samples after each other, by the order of their names, show one subject and are never split between turns."""
    measures: tuple[str, ...]
    """The first is a likeness (more is nearer) or a distance, the second likewise or missing."""
    likeness: bool


TASKS = (
    Task("subjects", "ImagenHub_Subject-Driven_IG", "Subject-Driven_IG", 5, ("DINO", "CLIP_I"), likeness=True),
    Task("edits", "ImagenHub_Text-Guided_IE", "Text-Guided_IE", 1, ("LPIPS",), likeness=False),
)


class Source:
    """The files of the data set; each that is read is counted into one digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "paper_implementation"
        self.read: dict[str, str] = {}

    def text(self, path: str) -> str:
        data = (self.folder / path).read_bytes()
        self.read[path] = hashlib.sha256(data).hexdigest()
        return data.decode()

    def digest(self) -> str:
        return digest_bytes(json.dumps(self.read, sort_keys=True).encode())


def ratings(source: Source, task: Task, rater: int) -> dict[tuple[str, str], Verdict]:
    """What a rater said of each method's picture of each sample."""
    path = f"_human_annotations/ImagenHub_human_eval_results/{task.folder}/{task.ratings}_rater{rater}.tsv"
    head, *rows = csv.reader(source.text(path).splitlines(), delimiter="\t")
    return {
        (method, row[0]): VERDICT_OF[float(min(ast.literal_eval(cell)[:2]))]
        for row in rows
        if row
        for method, cell in zip(head[1:], row[1:], strict=True)
    }


def measured(source: Source, task: Task) -> dict[tuple[str, str], dict[str, float]]:
    """What was measured of each method's picture of each sample. A method that nobody measured is left out."""
    found = {}
    for file in sorted((source.folder / "_answers/results_autometrics" / task.folder).glob("*.json")):
        rows = json.loads(source.text(str(file.relative_to(source.folder))))
        found.update({(file.stem, sample): row for sample, row in rows.items()})
    return found


def looked(source: Source, task: Task, looker: str, methods: Sequence[str]) -> dict[tuple[str, str], dict[str, float]]:
    """The lowest score, 0 to 10, that a model gave a picture for what was asked (SC) and how it looks (PQ), where it gave any."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for method in methods if looker else ():
        for part in ("SC", "PQ"):
            path = f"_answers/results_{looker}_0shot/{task.folder}/{method}/{part}.json"
            for sample, row in json.loads(source.text(path)).items():
                numbers = [float(one) for one in re.findall(r"\d+(?:\.\d+)?", str(row["score"]))]
                if numbers:
                    found.setdefault((method, sample), {})[part] = min(numbers)
    return found


def turn_of(task: Task, samples: Sequence[str]) -> dict[str, int]:
    """The turn of each sample: subjects, or sources, take turns."""
    ordered = sorted(samples, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])
    if task.alike == 1:  # edits of one photo carry its number
        photos = list(dict.fromkeys(name.rsplit("_", 1)[0] for name in ordered))
        return {name: 1 + photos.index(name.rsplit("_", 1)[0]) % TURNS for name in ordered}
    return {name: 1 + place // task.alike % TURNS for place, name in enumerate(ordered)}


def lessons_of(
    task: Task,
    said: Mapping[tuple[str, str], Verdict],
    measures: Mapping[tuple[str, str], Mapping[str, float]],
    looks: Mapping[tuple[str, str], Mapping[str, float]],
) -> list[CriticLesson]:
    """A rater's verdicts as the critic has them. The character is the same for all: the critic meets each subject for the first time."""
    turns = turn_of(task, sorted({sample for _, sample in measures}))
    found = []
    for method, sample in sorted(measures):
        values = [measures[method, sample][name] for name in task.measures]
        distances = [1 - value if task.likeness else value for value in values]
        image = digest_bytes(f"{task.name}/{method}/{sample}".encode())
        look = looks.get((method, sample), {})  # where it gave no figure, one in the middle stands
        found.append(
            CriticLesson(
                image=image,
                character=task.name,
                kind="enriched",
                editor=method,
                source=digest_bytes(f"{task.name}/{sample}".encode()),
                screening=Screening(
                    image=image,
                    outcome="pass",
                    verifier="others",
                    verifier_version="1",
                    distance=distances[0],
                    nearest_distance=distances[1] if len(distances) > 1 else None,
                ),
                threshold=0.5,
                vision=(look.get("SC", 5.0), look.get("PQ", 5.0)) if looks else (),
                gate=f"{task.name}-{turns[sample]}",
                turn=turns[sample],
                verdict=said[method, sample],
                fair=True,
            )
        )
    return found


def held_out_chances(rung: RungName, lessons: Sequence[CriticLesson]) -> Array:
    """What a rung says of each picture while it had not seen that turn."""
    found = np.zeros((len(lessons), 3))
    for turn in range(1, TURNS + 1):
        known = [one for one in lessons if one.turn != turn]
        there = [place for place, one in enumerate(lessons) if one.turn == turn]
        fitted = fit_rung(RUNGS[rung], known, {}, [str(one.turn) for one in known])
        found[there] = ask(fitted, [lessons[place] for place in there], {})
    return found


def spared_at(scores: Array, good: NDArray[np.bool_], lost: float) -> float:
    """The share that could be set aside with so few good ones among them, the limit chosen in hindsight."""
    gone = np.cumsum(good[np.argsort(scores, kind="stable")]) / good.sum()
    return float((gone <= lost).mean())


def rung_rows(task: Task, looker: str, by_rater: Sequence[Sequence[CriticLesson]]) -> Iterator[Row]:
    """A row a rung that is new with this looker: of all three raters, each with a critic of their own."""
    base = [log_losses(held_out_chances("base_rate", lessons), lessons) for lessons in by_rater]
    # The pictures of a subject or photo count once, whoever rated them.
    units = [unit for lessons in by_rater for unit in units_of(lessons)]
    goods = [np.array([one.verdict is Verdict.GOOD for one in lessons]) for lessons in by_rater]
    for rung in PLAIN if not looker else LOOKED:
        tried = [held_out_chances(rung, lessons) for lessons in by_rater]
        losses = np.concatenate([log_losses(said, lessons) for said, lessons in zip(tried, by_rater, strict=True)])
        gains = np.array(means_by_unit(np.concatenate(base) - losses, units))
        interval = bootstrap_interval(len(gains), lambda drawn, gains=gains: float(gains[drawn].mean()))
        aucs = [area_under_curve(said[:, 2], good) for said, good in zip(tried, goods, strict=True)]
        spared = [spared_at(not_rejected(said), good, LOST) for said, good in zip(tried, goods, strict=True)]
        yield {
            "case": f"{task.name}, {rung.replace('_', ' ')}{', ' + LOOKERS[looker] if looker else ''}",
            "verdicts": len(units),
            "log_loss": float(losses.mean()),
            "auc": float(np.mean([one for one in aucs if one is not None])),
            "gain": interval.value,
            "gain_low": interval.low,
            "gain_high": interval.high,
            "p_value": None if rung == "base_rate" else sign_flip_test(gains.tolist()),
            "spared_in_hindsight_share": float(np.mean(spared)),
        }


def promised_row(task: Task, looker: str, by_rater: Sequence[Sequence[CriticLesson]]) -> Row:
    """What the whole ladder with its bound would have set aside on a turn after four others, and lost."""
    spared = pictures = lost = goods = 0
    rungs, bounds = [], []
    for lessons in by_rater:
        for turn in range(1, TURNS + 1):
            known = [one for one in lessons if one.turn != turn]
            there = [one for one in lessons if one.turn == turn]
            critic = Known(RECORD, train_critic(known, {}, record=RECORD).critic)
            view = view_gate("gate", there, {}, critic, critic, Rules(rejects=True, wanted=Wanted(MOST_LOST)))
            aside = {row.image for row in view.pictures if row.set_aside}
            good = [one.image for one in there if one.verdict is Verdict.GOOD]
            spared, pictures = spared + len(aside), pictures + len(there)
            lost, goods = lost + sum(image in aside for image in good), goods + len(good)
            rungs.append(critic.critic.rung)
            bounds += [view.cut.bound] if view.cut is not None else []
    share = wilson(lost, goods)
    return {
        "case": f"{task.name}, with a bound, {LOOKERS[looker]}",
        "most_lost": MOST_LOST,
        "rung_used": max(set(rungs), key=rungs.count),
        "turns_with_a_bound": len(bounds),
        "turns": len(rungs),
        "spared_share": spared / pictures,
        "lost": lost,
        "good": goods,
        "good_lost_share": share.value,
        "good_lost_high": share.high,
    }


def agreement_row(task: Task, by_rater: Sequence[Sequence[CriticLesson]]) -> Row:
    """How far people agree: what one would lose who followed the rejections of another. The mean, least and most of the six pairs."""
    verdicts = [[one.verdict for one in lessons] for lessons in by_rater]
    alike, spared, lost = [], [], []
    for own, other in permutations(verdicts, 2):
        pairs = list(zip(own, other, strict=True))
        good = [said for mine, said in pairs if mine is Verdict.GOOD]
        alike.append(float(np.mean([(a is Verdict.GOOD) == (b is Verdict.GOOD) for a, b in pairs])))
        spared.append(float(np.mean([said is Verdict.REJECT for said in other])))
        lost.append(sum(said is Verdict.REJECT for said in good) / len(good))
    return {
        "case": f"{task.name}, another person",
        "pictures": len(verdicts[0]),
        "good_share": float(np.mean([one is Verdict.GOOD for said in verdicts for one in said])),
        "alike_good_share": float(np.mean(alike)),
        "spared_by_other_share": float(np.mean(spared)),
        "lost_by_other_share": float(np.mean(lost)),
        "lost_by_other_least": min(lost),
        "lost_by_other_most": max(lost),
    }


def rows(folder: Path) -> Iterator[Row]:
    """All rows, and one that says what was read."""
    source = Source(folder)
    for task in TASKS:
        measures = measured(source, task)
        said = [ratings(source, task, rater) for rater in RATERS]
        methods = sorted({method for method, _ in measures})
        for looker in LOOKERS:
            looks = looked(source, task, looker, methods)
            by_rater = [lessons_of(task, one, measures, looks) for one in said]
            yield from rung_rows(task, looker, by_rater)
            yield promised_row(task, looker, by_rater)
            if not looker:
                yield agreement_row(task, by_rater)
    if source.digest() != FILES_DIGEST:
        raise SystemExit(f"The files in {folder} are others than those measured: {source.digest()} was read.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="a clone of the data set's repository")
    arguments = parser.parse_args()
    write_result("critic_public", list(rows(arguments.folder)))


if __name__ == "__main__":
    main()
