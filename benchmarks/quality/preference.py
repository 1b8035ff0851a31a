"""What corrected edits teach best: the right picture, that it is better than the rejected one, or both. The editor of the nano world.

Edits of all characters are made and reviewed once. Every arm trains on the same lessons of some characters with the same steps, then
the simulated reviewer judges new edits of these and the first edits of characters nobody learned from. One row an arm: corrections per
100 edits with their interval (Wilson); how many edits it got right that `answer` got wrong, and the other way round, with McNemar's
exact p-value.

    python -m benchmarks.quality.preference --work /tmp/preference --characters 4 --others 3 --edits 30 --judged 20 --steps 400
    python -m benchmarks.quality.preference --work /tmp/p --characters 2 --others 1 --edits 10 --judged 4 --steps 20 --arms answer both_500
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from benchmarks.quality.nano_editor_search import Plan, Trial, chosen_lessons, collect, judged_edits, lessons, train
from benchmarks.quality.nano_turn import nano_recipe
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.base.statistics import mcnemar, wilson
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.library.characters import Library
from flenwheel_core.nano.reviewer import Judged, judge
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.runner.stage import ENRICH
from flenwheel_core.store import Store
from flenwheel_core.store.triplets import get_triplets, put_triplets

BARE, ANSWER = "bare editor", "answer"
STRENGTHS = (20, 100, 500, 2000)
FIRST_TURN = 7
"""Edits that are judged are those of this turn: other prompts and seeds than the lessons'."""


@dataclass(frozen=True)
class Arm:
    """One way of teaching."""

    name: str
    teach: str | None = None
    strength: float | None = None

    def trial(self, steps: int, anchor: float | None) -> Trial:
        editor: dict[str, Any] = {"corrections_teach": self.teach, "comparison_strength": self.strength}
        if anchor is not None:
            editor["anchor"] = anchor
        return Trial(self.name, train={"steps": steps, "min_epochs": None}, editor=editor)


def arms() -> dict[str, Arm]:
    """By name: the answer alone, and comparison and both at every strength."""
    found = [Arm(ANSWER)]
    for teach in ("comparison", "both"):
        found += [Arm(f"{teach}_{strength}", teach, float(strength)) for strength in STRENGTHS]
    return {arm.name: arm for arm in found}


def judged(plan: Plan, index: int, loras: tuple[LoraUse, ...]) -> list[Judged]:
    """The reviewer's verdicts on a character's edits by an editor."""
    world = plan.world(index)
    store, items = world.store, judged_edits(plan, index)
    request = EnrichRequest(
        character=Library(store).character(world.name).ref(),
        sources=store.put_images([entry.image for entry in Library(store).pool(world.name) if entry.real]),
        items=items,
        editor=plan.recipe.models.editor,
        loras=loras,
        sampler=plan.recipe.enrich.sampler,
        turn=FIRST_TURN,
    )
    images = store.get_images(world.stage(ENRICH, request).images)
    return judge(store, world.settings, images, world.truth())


@dataclass(frozen=True)
class Verdicts:
    """All verdicts on an editor's edits, in one order for every editor."""

    learned: tuple[Judged, ...]
    unseen: tuple[Judged, ...]

    @classmethod
    def of(cls, plan: Plan, loras: tuple[LoraUse, ...]) -> "Verdicts":
        learned, unseen = (
            tuple(item for index in indices for item in judged(plan, index, loras))
            for indices in (plan.learned(), plan.unseen())
        )
        return cls(learned, unseen)

    def figures(self, other: "Verdicts | None") -> dict[str, float | int | None]:
        """Corrections by kind of character with intervals, what was missed, and the paired test against another editor's."""
        found: dict[str, float | int | None] = {}
        for name, own in (("learned", self.learned), ("unseen", self.unseen)):
            bad = sum(not _good(item) for item in own)
            interval = wilson(bad, len(own))
            found |= {
                f"edits_{name}": len(own),
                f"corrections_per_100_{name}": 100 * bad / len(own),
                f"corrections_low_{name}": 100 * interval.low,
                f"corrections_high_{name}": 100 * interval.high,
            }
        every = (*self.learned, *self.unseen)
        found["corrections_per_100"] = 100 * sum(not _good(item) for item in every) / len(every)
        found["missed_expression"] = sum("expression" in item.reasons for item in every) / len(every)
        found["missed_identity"] = sum("identity" in item.reasons for item in every) / len(every)
        found["identity"] = sum(item.similarity for item in every) / len(every)
        if other is not None:
            before, after = [_good(item) for item in (*other.learned, *other.unseen)], [_good(item) for item in every]
            pairs = list(zip(before, after, strict=True))
            found |= {"better": pairs.count((False, True)), "worse": pairs.count((True, False))}
            found["p_value"] = mcnemar(before, after)
        return found


def _good(item: Judged) -> bool:
    return item.verdict is Verdict.GOOD


def taught(plan: Plan, arm: Arm, digest: str, steps: int, seeds: Sequence[int], anchor: float | None) -> Verdicts:
    """Trains an arm with each seed and judges it; the verdicts of all seeds one after the other."""
    found = []
    for seed in seeds:
        editor = plan.recipe.editor.model_copy(update={"seed": seed})
        seeded = Plan(
            plan.work, plan.recipe.model_copy(update={"editor": editor}), plan.characters, plan.others, plan.judged
        )
        trial = arm.trial(steps, anchor)
        lora = train(seeded, trial, chosen_lessons(plan, trial, digest))
        found.append(Verdicts.of(plan, (LoraUse(digest=lora.digest, weight=editor.lora_weight),)))
    return Verdicts(
        tuple(item for each in found for item in each.learned), tuple(item for each in found for item in each.unseen)
    )


def first_lessons(store: Store, digest: str, number: int) -> str:
    """Digest of so many of the lessons, of all characters in turn; every smaller number is contained in every larger one."""
    by_character: dict[str, list[Triplet]] = {}
    for triplet in get_triplets(store, digest).triplets:
        by_character.setdefault(triplet.character, []).append(triplet)
    in_turn = [triplet for each in zip_longest(*by_character.values()) for triplet in each if triplet is not None]
    return put_triplets(store, in_turn[:number])


def main() -> None:
    """Writes the result file after every arm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspace; a second run goes on there")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--characters", type=int, default=4, help="characters that lessons come from")
    parser.add_argument("--others", type=int, default=3, help="characters that are only judged")
    parser.add_argument("--edits", type=int, help="edits a character, if not the recipe's")
    parser.add_argument("--judged", type=int, default=20, help="edits judged a character")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--anchor", type=float, help="instead of the recipe's")
    parser.add_argument("--lessons", type=int, help="train on so many lessons only")
    parser.add_argument("--arms", nargs="+", choices=list(arms()), default=list(arms()))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    recipe = nano_recipe(None, options.edits, None)
    plan = Plan(options.work, recipe, options.characters, options.others, options.judged)
    for index in plan.learned() + plan.unseen():
        print(collect(plan, index, threads=options.threads), flush=True)
    digest = lessons(plan)
    if options.lessons is not None:
        digest = first_lessons(plan.world(0).store, digest, options.lessons)
    kinds = [triplet.kind for triplet in get_triplets(plan.world(0).store, digest).triplets]
    bare = Verdicts.of(plan, ())
    bare = Verdicts(bare.learned * len(options.seeds), bare.unseen * len(options.seeds))
    rows: list[Row] = [{"case": BARE, **bare.figures(None)}]
    answer: Verdicts | None = None
    for name in options.arms:
        arm, began = arms()[name], time.monotonic()
        verdicts = taught(plan, arm, digest, options.steps, options.seeds, options.anchor)
        answer = verdicts if name == ANSWER else answer
        facts = {"lessons": len(kinds), "corrected": kinds.count("corrected"), "steps": options.steps}
        against = None if name == ANSWER else answer
        row = {"case": name, "teach": arm.teach or ANSWER, "strength": arm.strength, **facts}
        rows.append(
            {**row, "seeds": len(options.seeds), **verdicts.figures(against), "seconds": time.monotonic() - began}
        )
        print(rows[-1], flush=True)
        write_result("preference", rows, folder=options.out)


if __name__ == "__main__":
    main()
