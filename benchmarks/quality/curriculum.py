"""Does it help to learn heads and expressions first, and bodies later? Held-out nano characters, equal steps.

The plan, fixed before the run. Each character's first LoRA is trained twice with the same pictures, steps and seed: all from the start
(`together`), and whole bodies from `--from` (0.4) of the steps on (`bodies_later`, the recipe's `train.bodies_from`). The simulated
reviewer, who knows the truth, looks at the same fresh card of 46 pictures by both: 40 heads and 6 bodies. Claimed is, over characters,
that the true pass rate is higher with bodies later; the test is a paired sign-flip test over characters. Heads and bodies are reported
besides.

    python -m benchmarks.quality.curriculum --work /tmp/one --workers 10
    python -m benchmarks.quality.curriculum --work /tmp/o --characters 1 --edits 0 --steps 40 --workers 1
"""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context

from benchmarks.quality.checkpoint_choice import longer, tried_recipe
from benchmarks.quality.one_training import Subject, parser_of, prepare, train, train_request, true_card
from benchmarks.result_file import Row, write_result
from flenwheel_core.base.statistics import sign_flip_test
from flenwheel_core.documents.prompts import CARD_CELLS, Cell
from flenwheel_core.nano.world.version import shipped_world

NAME = "curriculum"
ARMS = ("together", "bodies_later")


def one_character(subject: Subject, begins: float) -> Row:
    """The row of a character; in a process of its own."""
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    prepared = prepare(subject)
    steps = subject.recipe.train.for_pictures(len(prepared.items(subject))).steps
    subject = longer(subject, steps)
    row: dict[str, str | int | float | bool | None] = {"case": subject.name, "steps": steps}
    for arm in ARMS:
        own = subject if arm == "together" else _later(subject, begins)
        items = prepared.items(own)
        # The states that a choice would keep: a benchmark of choices in the same folder then shares the training.
        trained = train(own, train_request(own, prepared, items, "first", keep_at=own.recipe.choice.kept_steps(steps)))
        passed = true_card(own, trained.lora)
        heads = [ok for ok, cell in zip(passed, _cells(len(passed)), strict=True) if cell.pose == "portrait"]
        bodies = [ok for ok, cell in zip(passed, _cells(len(passed)), strict=True) if cell.pose != "portrait"]
        row |= {
            "bodies": sum(item.begins > 0 for item in items),
            "pictures": len(items),
            f"true_pass_rate_{arm}": sum(passed) / len(passed),
            f"heads_{arm}": sum(heads) / len(heads),
            f"bodies_{arm}": sum(bodies) / len(bodies),
        }
    return row | {"seconds": time.monotonic() - began}


def _cells(number: int) -> list[Cell]:
    return [cell for cell in CARD_CELLS for _ in range(number // len(CARD_CELLS))]


def _later(subject: Subject, begins: float) -> Subject:
    changed = subject.recipe.train.model_copy(update={"bodies_from": begins})
    return replace(subject, recipe=subject.recipe.model_copy(update={"train": changed}))


def summary(rows: Sequence[Row]) -> Row:
    """What the plan claims."""
    found: dict[str, str | int | float | bool | None] = {"case": "summary", "characters": len(rows)}
    for figure in ("true_pass_rate", "heads", "bodies"):
        means = {arm: [float(row[f"{figure}_{arm}"] or 0) for row in rows] for arm in ARMS}
        gains = [after - before for before, after in zip(means["together"], means["bodies_later"], strict=True)]
        found |= {f"{figure}_{arm}": sum(own) / len(own) for arm, own in means.items()}
        found |= {f"gain_{figure}": sum(gains) / len(gains), f"p_value_{figure}": sign_flip_test(gains)}
    return found


def main() -> None:
    """Writes the result file after every character."""
    parser = parser_of(__doc__)
    parser.add_argument("--held", type=int, default=3, help="sources held back")
    parser.add_argument("--from", dest="begins", type=float, default=0.4, help="share of the steps")
    options = parser.parse_args()
    recipe = tried_recipe(options.steps, 12, 24, options.gpu)
    rows: list[Row] = []
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as processes:
        waiting = [
            processes.submit(
                one_character,
                Subject(options.work, index, recipe, options.edits, options.held, options.gpu),
                options.begins,
            )
            for index in range(options.characters)
        ]
        for future in as_completed(waiting):
            rows.append(future.result())
            print(rows[-1], flush=True)
            world: Row = {"case": "world", "world": shipped_world(), "bodies_from": options.begins}
            write_result(NAME, [world, summary(rows), *rows], folder=options.out)


if __name__ == "__main__":
    main()
