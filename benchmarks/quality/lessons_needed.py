"""How many lessons does the editor need? Corrections per 100 edits over the lessons it was given, taught in two ways. The nano world.

The plan, fixed before the run. Edits of `--characters` characters are made and reviewed once. For every number of lessons (10, 30, 100,
300, 1 000, as far as there are so many; each smaller set is part of each larger one, all characters in turn), every way of teaching
(`answer`: the corrected picture; `preference`: the picture and that it is better than the rejected one) and every seed an editor is
trained with the recipe's own number of steps, or `--steps`. The simulated reviewer then judges other edits of the characters that were
learned from, and edits of `--others` characters that were not. One row an editor and one with both arms' difference at each number: the
paired test is a sign-flip test over characters (seeds counted together). What is claimed: corrections fall with the lessons, on learned
and on unseen characters; nothing is claimed of a number that was not reached.

A second run in the same folder goes on where the first one ended: lessons, trainings and edits are kept.

    python -m benchmarks.quality.lessons_needed --work /tmp/lessons --workers 16                   # 25 + 10 characters, 1 000 lessons
    python -m benchmarks.quality.lessons_needed --work /tmp/l --characters 2 --others 1 --edits 8 --judged 4 --numbers 4 10 --steps 10
"""

import argparse
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.quality.nano_editor_search import Plan, Trial, collect, lessons, train
from benchmarks.quality.nano_turn import nano_recipe
from benchmarks.quality.preference import first_lessons, judged
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.base.statistics import sign_flip_test, wilson
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.nano.world.version import shipped_world
from flenwheel_core.store.triplets import get_triplets

NAME = "lessons_needed"
NUMBERS = (10, 30, 100, 300, 1000)
ARMS: dict[str, dict[str, Any]] = {
    "answer": {},
    "preference": {"corrections_teach": "both", "comparison_strength": 500.0},
}
BARE = "bare editor"


@dataclass(frozen=True)
class Run:
    """One editor: a way of teaching, a number of lessons, a seed; for the bare one an empty way."""

    arm: str
    number: int
    seed: int
    steps: int | None

    @property
    def name(self) -> str:
        return f"{self.arm} {self.number} seed {self.seed}" if self.arm else BARE


@dataclass(frozen=True)
class Outcome:
    """What the reviewer said of one editor's edits."""

    run: Run
    lessons: int
    corrected: int
    steps: int
    bad: tuple[int, ...]
    """Edits not taken as they are, by character."""
    judged: tuple[int, ...]
    learned: int
    """So many of the characters, the first, were learned from."""
    training_seconds: float
    seconds: float

    def row(self) -> Row:
        """Corrections per 100 edits with Wilson's interval, by kind of character."""
        found: dict[str, str | int | float | bool | None] = {
            "case": self.run.name,
            "arm": self.run.arm or BARE,
            "seed": self.run.seed,
            "lessons": self.lessons,
            "corrected": self.corrected,
            "steps": self.steps,
        }
        for name, own in (("learned", slice(0, self.learned)), ("unseen", slice(self.learned, None))):
            bad, number = sum(self.bad[own]), sum(self.judged[own])
            rate = wilson(bad, number)
            found |= {
                f"corrections_per_100_{name}": 100 * rate.value,
                f"corrections_low_{name}": 100 * rate.low,
                f"corrections_high_{name}": 100 * rate.high,
                f"edits_{name}": number,
            }
        return found | {"training_seconds": self.training_seconds, "seconds": self.seconds}


def one_editor(plan: Plan, digest: str, run: Run) -> Outcome:
    """Trains an editor, unless it is the bare one, and has its edits judged; in a process of its own."""
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    uses: tuple[LoraUse, ...] = ()
    store, kinds, steps = plan.world(0).store, [], 0
    if run.arm:
        chosen = first_lessons(store, digest, run.number)
        kinds = [triplet.kind for triplet in get_triplets(store, chosen).triplets]
        own = plan.recipe.editor.train
        trained = {"steps": run.steps or own.for_pictures(len(kinds)).steps, "min_epochs": None}
        trial = Trial(run.name.replace(" ", "-"), train=trained, editor={**ARMS[run.arm], "seed": run.seed})
        lora = train(plan, trial, chosen)
        uses, steps = (LoraUse(digest=lora.digest, weight=plan.recipe.editor.lora_weight),), lora.steps
    training_seconds = time.monotonic() - began
    verdicts = [judged(plan, index, uses) for index in plan.learned() + plan.unseen()]
    return Outcome(
        run=run,
        lessons=len(kinds),
        corrected=kinds.count("corrected"),
        steps=steps,
        bad=tuple(sum(item.verdict is not Verdict.GOOD for item in own) for own in verdicts),
        judged=tuple(len(own) for own in verdicts),
        learned=plan.characters,
        training_seconds=training_seconds,
        seconds=time.monotonic() - began,
    )


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    """A row an editor, in the plan's order, and the differences that the plan tests."""
    done = sorted(outcomes, key=lambda one: (one.run.number, one.run.arm, one.run.seed))
    rows = [one.row() for one in done]
    bare = next((one for one in done if not one.run.arm), None)
    for number in sorted({one.run.number for one in done if one.run.arm}):
        own = {arm: [one for one in done if one.run.arm == arm and one.run.number == number] for arm in ARMS}
        for arm, trained in own.items():
            if bare is not None and trained:
                rows.append(_difference(f"{arm} {number} against the bare editor", trained, [bare]))
        if all(own.values()):
            rows.append(_difference(f"preference {number} against answer", own["preference"], own["answer"]))
    return rows


def _difference(case: str, ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> Row:
    """Corrections per 100 edits less, over characters: their mean and the paired test, for learned and unseen ones."""
    fewer = [after - before for after, before in zip(_rates(theirs), _rates(ours), strict=True)]
    found: dict[str, str | int | float | bool | None] = {"case": case, "lessons": ours[0].lessons}
    for name, own in (("learned", fewer[: ours[0].learned]), ("unseen", fewer[ours[0].learned :])):
        found |= {
            f"characters_{name}": len(own),
            f"fewer_per_100_{name}": sum(own) / len(own) if own else None,
            f"p_value_{name}": sign_flip_test(own),
        }
    return found


def _rates(outcomes: Sequence[Outcome]) -> list[float]:
    """Corrections per 100 edits of each character, over all seeds."""
    bad, number = zip(*(one.bad for one in outcomes), strict=True), zip(*(one.judged for one in outcomes), strict=True)
    return [100 * sum(own) / max(1, sum(every)) for own, every in zip(bad, number, strict=True)]


def main() -> None:
    """Writes the result file after every editor."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspace; a second run goes on there")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--characters", type=int, default=25, help="characters that lessons come from")
    parser.add_argument("--others", type=int, default=10, help="characters that are only judged")
    parser.add_argument("--edits", type=int, help="edits a character, if not the recipe's")
    parser.add_argument("--judged", type=int, default=20, help="edits judged a character")
    parser.add_argument("--numbers", type=int, nargs="+", default=list(NUMBERS), help="of lessons")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--steps", type=int, help="of every training, if not the recipe's (which grow with the lessons)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further editor after so long")
    options = parser.parse_args()
    began = time.monotonic()
    recipe = nano_recipe(None, options.edits, None)
    plan = Plan(options.work, recipe, options.characters, options.others, options.judged)
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as processes:
        for row in processes.map(partial(collect, plan), plan.learned() + plan.unseen()):
            print(row, flush=True)
        digest = lessons(plan)
        there = len(get_triplets(plan.world(0).store, digest).triplets)
        print(f"world {shipped_world()}: {there} lessons after {time.monotonic() - began:.0f} s", flush=True)
        runs = [
            Run(arm, number, seed, options.steps)
            for seed in options.seeds
            for number in options.numbers
            if number <= there
            for arm in options.arms
        ]
        outcomes = []
        waiting = [processes.submit(one_editor, plan, digest, run) for run in (Run("", 0, 0, None), *runs)]
        for future in as_completed(waiting):
            if future.cancelled():
                continue
            outcomes.append(future.result())
            print(outcomes[-1].row(), flush=True)
            world: list[Row] = [{"case": "world", "world": shipped_world(), "lessons": there}]
            write_result(NAME, [*world, *rows_of(outcomes)], folder=options.out)
            if time.monotonic() - began > options.seconds:
                for left in waiting:
                    left.cancel()


if __name__ == "__main__":
    main()
