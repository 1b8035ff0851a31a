"""Does it pay to choose among the states of a training? Held-out nano characters, through the stage `choose`.

The plan, fixed before the run. Each character's first LoRA is trained as the recipe has it, on its sources but `--held` that are kept
back and on the edits that were taken; its states after a quarter, half and three quarters are kept. The stage tries these and the last
one at strengths 0.8, 1.0 and 1.2 on 12 pictures each, measured against the held-out sources, picks the best, and takes it only if it
beats the last state on 24 further pictures (paired test, p < 0.05; identity, diversity and passes not worse). Then the simulated
reviewer, who knows the truth, looks at a fresh card of 46 pictures by three LoRAs: the last state (`last`), what the rule took (`taken`),
and what was picked without the second look (`luckiest`). Claimed is, over characters: `taken` is not worse than `last`, and is taken only
where it is better; the test is a paired sign-flip test of true pass rates over characters, for `taken` and for `luckiest`. `--length`
trains so many times as long, which over-trains: there the choice should pay.

    python -m benchmarks.quality.checkpoint_choice --work /tmp/one --workers 10 --length 1 3
    python -m benchmarks.quality.checkpoint_choice --work /tmp/o --characters 1 --edits 0 --steps 40 --pick 4 --confirm 6 --workers 1
"""

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from benchmarks.quality.one_training import Subject, one_recipe, parser_of, prepare, train, train_request, true_card
from benchmarks.result_file import Row, write_result
from flenwheel_core.adapters.strength import lora_at
from flenwheel_core.base.statistics import sign_flip_test
from flenwheel_core.nano.world.version import shipped_world
from flenwheel_core.plans.choice import choose_request
from flenwheel_core.recipes.choice import ChoiceRecipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.runner.stage import CHOOSE

NAME = "checkpoint_choice"
STATES, STRENGTHS = (0.25, 0.5, 0.75), (0.8, 1.0, 1.2)


def one_character(subject: Subject, length: float) -> list[Row]:
    """The row of a character, and one of each state that was tried; in a process of its own."""
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    prepared = prepare(subject)
    items, recipe = prepared.items(subject), subject.recipe
    steps = round(recipe.train.for_pictures(len(items)).steps * length)
    subject = longer(subject, steps)
    recipe = subject.recipe
    asked = train_request(subject, prepared, items, "first", keep_at=recipe.choice.kept_steps(steps))
    trained = train(subject, asked)
    trained_seconds = time.monotonic() - began
    request = choose_request(subject.ref, recipe, trained, prepared.fingerprint, prepared.held_out)
    chosen = subject.stage(CHOOSE, request)
    choice = chosen.choice
    luckiest = lora_at(trained.lora, choice.tried[choice.best].state, subject.store)
    true = {
        name: sum(passed := true_card(subject, lora)) / len(passed)
        for name, lora in (("last", trained.lora), ("taken", chosen.lora), ("luckiest", luckiest))
    }
    case = f"{subject.name} length {length:g}"
    rows: list[Row] = [
        {
            "case": case,
            "length": length,
            "steps": steps,
            "pictures": len(items),
            "held_out": choice.held_out,
            "best": choice.tried[choice.best].state.name,
            "taken": choice.tried[choice.taken].state.name,
            "beaten": choice.taken != choice.default,
            "p_value": None if choice.confirmed is None else choice.confirmed.p_value,
            **{f"true_pass_rate_{name}": rate for name, rate in true.items()},
            "drawn_pictures": len(choice.tried) * len(request.pick_items)
            + (2 * len(request.confirm_items) if choice.confirmed is not None else 0),
            "training_seconds": trained_seconds,
            "seconds": time.monotonic() - began,
        }
    ]
    for one in choice.tried:
        rows.append(
            {
                "case": f"{case} {one.state.name}",
                "share_of_steps": one.state.step / steps,
                "strength": one.state.strength,
                "shown": one.shown,
                "pass_rate": one.card.pass_rate,
                "identity": one.card.identity,
                "expression_rate": one.card.expression_rate,
                "angle_rate": one.card.angle_rate,
                "diversity": one.card.diversity,
            }
        )
    return rows


def longer(subject: Subject, steps: int) -> Subject:
    """The subject with a training of so many steps."""
    train_recipe = subject.recipe.train.model_copy(update={"steps": steps, "min_epochs": None})
    recipe = subject.recipe.model_copy(update={"train": train_recipe})
    return Subject(subject.folder, subject.index, recipe, subject.edits, subject.held, subject.gpu)


def summary(rows: Sequence[Row]) -> list[Row]:
    """What the plan claims, for each length of the training; and the curve of the states at strength 1."""
    found: list[Row] = []
    own = [row for row in rows if "beaten" in row]
    for length in sorted({float(row["length"] or 0) for row in own}):
        same = [row for row in own if row["length"] == length]
        row: dict[str, str | int | float | bool | None] = {
            "case": f"summary length {length:g}",
            "characters": len(same),
            "beaten": sum(bool(one["beaten"]) for one in same),
        }
        last = [float(one["true_pass_rate_last"] or 0) for one in same]
        row["true_pass_rate_last"] = sum(last) / len(last)
        for name in ("taken", "luckiest"):
            rates = [float(one[f"true_pass_rate_{name}"] or 0) for one in same]
            gains = [after - before for after, before in zip(rates, last, strict=True)]
            row |= {
                f"true_pass_rate_{name}": sum(rates) / len(rates),
                f"gain_{name}": sum(gains) / len(gains),
                f"p_value_{name}": sign_flip_test(gains),
            }
        found.append(row)
        found += _curve(rows, length)
    return found


def _curve(rows: Sequence[Row], length: float) -> list[Row]:
    found: list[Row] = []
    marked = [row for row in rows if f"length {length:g} step" in str(row["case"]) and row.get("strength") == 1]
    for share in sorted({round(float(row["share_of_steps"] or 0), 2) for row in marked}):
        own = [row for row in marked if round(float(row["share_of_steps"] or 0), 2) == share]
        means = {
            figure: sum(float(row[figure] or 0) for row in own) / len(own)
            for figure in ("shown", "pass_rate", "identity", "expression_rate", "diversity")
        }
        found.append({"case": f"curve length {length:g} at {share:g}", "share_of_steps": share, **means})
    return found


def tried_recipe(steps: int | None, pick: int, confirm: int, gpu: str) -> Recipe:
    """The nano recipe with the plan's choice."""
    choice = ChoiceRecipe(states=STATES, strengths=STRENGTHS, pick_pictures=pick, confirm_pictures=confirm)
    return one_recipe(steps, gpu).model_copy(update={"choice": choice})


def main() -> None:
    """Writes the result file after every character."""
    parser = parser_of(__doc__)
    parser.add_argument("--held", type=int, default=3, help="sources held back")
    parser.add_argument("--length", type=float, nargs="+", default=[1.0], help="trainings so many times as long")
    parser.add_argument("--pick", type=int, default=12, help="pictures to pick by")
    parser.add_argument("--confirm", type=int, default=24, help="pictures to win on")
    options = parser.parse_args()
    recipe = tried_recipe(options.steps, options.pick, options.confirm, options.gpu)
    rows: list[Row] = []
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as processes:
        waiting = [
            processes.submit(
                one_character, Subject(options.work, index, recipe, options.edits, options.held, options.gpu), length
            )
            for length in options.length
            for index in range(options.characters)
        ]
        for future in as_completed(waiting):
            rows += future.result()
            world: list[Row] = [{"case": "world", "world": shipped_world()}]
            write_result(NAME, [*world, *summary(rows), *rows], folder=options.out)
            print(next(row for row in reversed(rows) if "beaten" in row), flush=True)


if __name__ == "__main__":
    main()
