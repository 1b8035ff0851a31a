"""Both flywheels in the nano world, against ablations: held-out characters, several turns, every gate answered by the simulated reviewer.

The result file has a row for each character, turn and arm, a row for each turn of Flywheel 2, and a summary of the aims. Runs on a CPU;
characters run side by side in processes of one thread.

    python -m benchmarks.quality.nano_flywheels --work /tmp/flywheels                                  # everything: hours on two cores
    python -m benchmarks.quality.nano_flywheels --work /tmp/flywheels --characters 2 --turns 2 --arms both_flywheels no_flywheel_2
"""

import argparse
import math
import multiprocessing
import os
import statistics
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.quality.nano_editor_turn import EditorOutcome, editor_turn, lend_editor
from benchmarks.quality.nano_flywheels_summary import summary
from benchmarks.quality.nano_turn import (
    ARMS,
    Arm,
    TurnOutcome,
    World,
    add_character,
    nano_recipe,
    open_world,
    outcome_row,
    run_turn,
)
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.nano.demo import FIRST_HELD_OUT_SEED
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.edit_compare import EditCompareResult

FIRST_SEED = FIRST_HELD_OUT_SEED + 500
MAIN_ARM = "both_flywheels"
"""The arm with all characters; the ablations may have fewer."""


@dataclass(frozen=True)
class Job:
    """One turn of one character in one arm."""

    work: Path
    arm: Arm
    recipe: Recipe
    index: int
    turn: int
    training_gpu: str

    @property
    def name(self) -> str:
        return f"held-out-{self.index}" if self.index >= 0 else ""

    def world(self) -> World:
        return open_world(self.work, self.arm, self.recipe, self.name, training_gpu=self.training_gpu)


def run_job(job: Job) -> TurnOutcome:
    """In a process of its own."""
    world = job.world()
    if job.turn == 1:
        world.settings.root.mkdir(parents=True, exist_ok=True)
        add_character(world, FIRST_SEED + job.index)
    return run_turn(world, job.turn)


def start_process(cards: Sequence[str], threads: int) -> None:
    """Gives a new process its card, in turn, and its threads."""
    if cards:
        number = multiprocessing.current_process()._identity[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[number % len(cards)]
    import torch

    torch.set_num_threads(threads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the workspaces; a second run goes on there"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--name", default="nano_flywheels", help="of the result file")
    parser.add_argument("--characters", type=int, default=10)
    parser.add_argument("--ablation-characters", type=int, help="characters of the ablations, if fewer")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--arms", nargs="+", default=[name for name in ARMS if name != "editor_only"], choices=list(ARMS)
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--cards", nargs="+", default=[], help="CUDA devices that LoRAs are trained on; none: the CPU")
    parser.add_argument("--steps", type=int, help="training steps of a LoRA, if not the recipe's")
    parser.add_argument("--edits", type=int, help="edits a turn, if not the recipe's")
    parser.add_argument("--editor-steps", type=int, help="training steps of the editor's LoRA, if not the recipe's")
    parser.add_argument("--images", type=int, help="synthetic images a turn, if not the recipe's")
    parser.add_argument("--card-seeds", type=int, help="benchmark images of each cell of the card, if not the recipe's")
    parser.add_argument("--compared", type=int, help="held-out edits that editors are compared on, if not the recipe's")
    parser.add_argument("--compared-seeds", type=int, help="how often each is made, if not the recipe's")
    parser.add_argument(
        "--editors",
        type=Path,
        help="workspace of an earlier run of the same characters (WORK/editor_only), whose promoted editors are taken instead "
        "of training them again",
    )
    parser.add_argument("--seconds", type=float, help="begin no further turn after so long")
    options = parser.parse_args()
    began = time.monotonic()
    recipe = nano_recipe(options.steps, options.edits, options.editor_steps)
    recipe = smaller(recipe, options.images, options.card_seeds)
    recipe = compared(recipe, options.compared, options.compared_seeds)
    training_gpu = "cpu"
    if options.cards:  # models this small are over before a compiler is done with them
        import torch  # noqa: F401 - the result file then names the cards

        training_gpu = "auto"
        recorded = {"weight_format": "bf16", "compile": False, "cuda_graphs": True}
        train = recipe.train.model_copy(update=recorded)
        editor = recipe.editor.model_copy(update={"train": recipe.editor.train.model_copy(update=recorded)})
        recipe = recipe.model_copy(update={"train": train, "editor": editor})
    found = Found(options.out, options.name)
    start = multiprocessing.get_context("spawn")
    ends = began + (options.seconds if options.seconds is not None else math.inf)
    with (
        ProcessPoolExecutor(options.workers, start, start_process, (options.cards, options.threads)) as processes,
        ThreadPoolExecutor(len(options.arms)) as arms,
    ):
        waiting = []
        for name in options.arms:
            few = options.ablation_characters if name != MAIN_ARM else None
            jobs = [
                Job(options.work, ARMS[name], recipe, index, 1, training_gpu)
                for index in range(few or options.characters)
            ]
            editors = Editors(processes, options.workers, options.editors)
            waiting.append(arms.submit(run_arm, jobs, options.turns, ends, editors, found))
        for arm in waiting:
            arm.result()
    for row in summary(found.rows):
        print(row, flush=True)


class Found:
    """The rows so far, written after every turn of a character, so that a run that is cut short leaves what it found."""

    def __init__(self, folder: Path, name: str) -> None:
        self.rows: list[Row] = []
        self._editor_rows: list[Row] = []
        self._folder, self._name = folder, name
        self._lock = threading.Lock()

    def add(self, rows: Sequence[Row], editor_row: Row | None) -> None:
        with self._lock:
            self.rows += rows
            self._editor_rows += [editor_row] if editor_row is not None else []
            write_result(self._name, [*self.rows, *self._editor_rows, *summary(self.rows)], folder=self._folder)


@dataclass(frozen=True)
class Editors:
    """Where the turns' editors come from."""

    processes: ProcessPoolExecutor
    shares: int
    """Held-out edits are drawn in so many parts."""
    lent: Path | None

    def after(self, job: Job) -> Row | None:
        """The row of Flywheel 2 after a turn; None if it failed, had too few lessons, or its editor is lent."""
        if self.lent is None:
            return run_editor_turn(job, self.processes, self.shares)
        print(f"{job.arm.name}: an editor is lent: {lend_editor(job.world(), self.lent, job.turn)}", flush=True)
        return None


def run_arm(first: list[Job], turns: int, ends: float, editors: Editors, found: Found) -> None:
    """All turns of an arm: its characters side by side, then Flywheel 2 over all of them, then the next turn."""
    began = time.monotonic()
    for turn in range(1, turns + 1):
        if time.monotonic() > ends:
            return
        jobs = [replace(job, turn=turn) for job in first]
        running = {editors.processes.submit(run_job, job): job for job in jobs}
        for future in as_completed(running):
            row = turn_row(running[future], future)
            found.add([row] if row is not None else [], None)
        editor = None
        if first[0].arm.flywheel_2 and turn < turns:  # after the last turn nothing would be edited with it
            editor = editors.after(replace(first[0], index=-1, turn=turn))
            if editor is not None:
                print(editor, flush=True)
        found.add([], editor)
        print(f"{first[0].arm.name}: turn {turn} ended after {time.monotonic() - began:.0f} s", flush=True)


def smaller(recipe: Recipe, images: int | None, card_seeds: int | None) -> Recipe:
    """The recipe with fewer synthetic images, and a smaller benchmark."""
    generate, benchmark = recipe.generate, recipe.benchmark
    if images is not None:
        generate = generate.model_copy(update={"target_images": images})
    if card_seeds is not None:
        benchmark = benchmark.model_copy(update={"seeds_per_cell": card_seeds})
    return recipe.model_copy(update={"generate": generate, "benchmark": benchmark})


def compared(recipe: Recipe, edits: int | None, seeds: int | None) -> Recipe:
    """The recipe with another comparison of editors."""
    wanted = {"compared_edits": edits, "compared_seeds": seeds}
    changes = {key: value for key, value in wanted.items() if value is not None}
    return recipe.model_copy(update={"editor": recipe.editor.model_copy(update=changes)})


def turn_row(job: Job, future: "Future[TurnOutcome]") -> Row | None:
    """The row of a turn; None for one that failed, which does not stop the others."""
    try:
        row = outcome_row(job.arm, job.name, future.result())
    except Exception:
        print(f"{job.arm.name} {job.name} turn {job.turn} failed", flush=True)
        traceback.print_exc()
        return None
    print(row, flush=True)
    return row


def run_editor_turn(job: Job, processes: ProcessPoolExecutor, shares: int) -> Row | None:
    """Flywheel 2 of an arm after a turn, its held-out edits drawn in so many shares; None if it failed or had too few lessons."""
    began = time.monotonic()
    try:
        outcome = editor_turn(job.world(), job.turn, processes, shares)
    except Exception:
        traceback.print_exc()
        return None
    return None if outcome is None else editor_row(job, outcome, time.monotonic() - began)


def editor_row(job: Job, outcome: EditorOutcome, seconds: float) -> Row:
    """The row of a turn of Flywheel 2."""
    score = outcome.score
    return {
        "case": f"{job.arm.name} flywheel 2 turn {job.turn}",
        "arm": job.arm.name,
        "turn": job.turn,
        "editor_promoted": score.comparison.promote,
        "edits_passed_before": score.champion.pass_rate,
        "edits_passed": score.challenger.pass_rate,
        "nearness_before": score.champion.nearness,
        "nearness": score.challenger.nearness,
        "nearness_p_value": score.comparison.nearness_p_value,
        **told_apart(score),
        "kept_psnr_db_before": score.champion.kept_psnr_db,
        "kept_psnr_db": score.challenger.kept_psnr_db,
        "edits_passed_p_value": score.comparison.pass_rate_p_value,
        "identity_before": score.champion.identity,
        "edit_identity": score.challenger.identity,
        "corrections_per_100_before": outcome.corrections_per_100_before,
        "corrections_per_100_after": outcome.corrections_per_100_after,
        "lessons": outcome.lessons,
        "held_out_edits": len(score.challenger.edits),
        "seconds": seconds,
    }


def told_apart(score: EditCompareResult) -> Row:
    """What distance and nearness to the corrections say of held-out edits that follow their prompt, and of those that don't."""
    edits = [edit for card in (score.champion, score.challenger) for edit in card.edits if edit.nearness is not None]
    figures = {}
    for name, followed in (("right", True), ("wrong", False)):
        own = [edit for edit in edits if edit.followed is followed]
        figures[f"distance_of_{name}_edits"] = statistics.fmean(edit.target_error or 0 for edit in own) if own else None
        figures[f"nearness_of_{name}_edits"] = statistics.fmean(edit.nearness or 0 for edit in own) if own else None
    return dict(figures)


if __name__ == "__main__":
    main()
