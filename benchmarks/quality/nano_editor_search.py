"""Which training of the editor's LoRA helps most in the nano world: lessons of some characters, edits of the same and of other ones.

Edits of all characters are made and reviewed once; then every recipe trains on the same lessons, and the simulated reviewer judges
new edits of the characters it learned from and edits of characters it never saw. A row a recipe: corrections per 100 edits, and the row
`before` for the bare editor.

    python -m benchmarks.quality.nano_editor_search --work /tmp/search --workers 56 --out /tmp/search
    python -m benchmarks.quality.nano_editor_search --work /tmp/s --characters 2 --others 1 --edits 10 --judged 6 --recipes recipe quick
"""

import argparse
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.quality.nano_turn import ARMS, World, add_character, nano_recipe, open_world, run_turn
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.documents.prompts import EditItem
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.lessons.gather import gather_lessons
from flenwheel_core.library.characters import Library
from flenwheel_core.nano.demo import FIRST_HELD_OUT_SEED
from flenwheel_core.nano.reviewer import judge
from flenwheel_core.plans.pictures import plan_edits
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.edit_train import EditTrainRequest
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.runner.stage import EDIT_TRAIN, ENRICH
from flenwheel_core.store.triplets import get_triplets, put_triplets

FIRST_SEED = FIRST_HELD_OUT_SEED + 2500
ARM = ARMS["editor_only"]


@dataclass(frozen=True)
class Trial:
    """One way of training: changes of the recipe's tables and which lessons are taken."""

    name: str
    train: dict[str, Any] = field(default_factory=dict)
    lora: dict[str, Any] = field(default_factory=dict)
    editor: dict[str, Any] = field(default_factory=dict)
    approved: bool = True
    """Approved edits are lessons too, not only corrected ones."""
    characters: int | None = None
    """Lessons of so many characters only."""


def trials() -> dict[str, Trial]:
    """Every recipe of the search, by name; one choice at a time is changed from the recipe's own, then the likely best together."""
    wide = {"targets": ("attention", "mlp", "modulation", "embedders")}
    found = [
        Trial("recipe"),
        Trial("quick", train={"steps": 40, "warmup_steps": 5}),
        *(Trial(f"rate_{rate:g}", train={"learning_rate": rate}) for rate in (2e-4, 1e-3, 2e-3, 4e-3)),
        *(Trial(f"steps_{steps}", train={"steps": steps}) for steps in (100, 200, 800)),
        *(Trial(f"batch_{size}", train={"batch_size": size}) for size in (6, 12)),
        Trial("wide", lora=wide),
        Trial("wide_rate_1e-3", lora=wide, train={"learning_rate": 1e-3}),
        Trial("modulation", lora={"targets": ("attention", "mlp", "modulation")}),
        Trial("attention", lora={"targets": ("attention",)}),
        Trial("rank_4", lora={"rank": 4}),
        Trial("rank_64", lora={"rank": 64}),
        Trial("corrected_only", approved=False),
        Trial("corrected_only_rate_1e-3", approved=False, train={"learning_rate": 1e-3}),
        Trial("corrected_only_wide", approved=False, lora=wide),
        *(Trial(f"corrections_{weight:g}", editor={"corrections_weight": weight}) for weight in (1.0, 4.0, 8.0)),
        *(Trial(f"kept_{weight:g}", editor={"kept_weight": weight}) for weight in (0.3, 3.0)),
        *(Trial(f"changed_{weight:g}", editor={"changed_weight": weight}) for weight in (2.0, 4.0)),
        *(Trial(f"mistakes_{weight:g}", editor={"mistake_weight": weight}) for weight in (1.0, 3.0, 16.0)),
        *(
            Trial(f"hard_800_{rate:g}", train={"steps": 800, "learning_rate": rate}, editor={"anchor": None})
            for rate in (5e-4, 1e-3)
        ),
        Trial(  # the second of them at noisier levels
            "t1",
            train={"steps": 800, "learning_rate": 1e-3, "sigma": {"density": "logit_normal", "logit_mean": 1.0}},
            editor={"anchor": None},
        ),
        Trial(  # the recipe of 2026-11-25, before it weighed mistakes by 32; `recipe` in that day's file
            "light",
            train={"steps": 400, "learning_rate": 5e-4},
            editor={"mistake_weight": 8.0, "corrections_weight": 2.0, "anchor": None},
        ),
        *(Trial(f"anchor_{share:g}", editor={"anchor": share}) for share in (0.5, 1.0)),
        Trial("not_guided", editor={"distilled_guidance": None}),
        Trial(
            "plain", train={"steps": 200}, editor={"distilled_guidance": None, "mistake_weight": None, "anchor": None}
        ),
        Trial("dropout_0", train={"caption_dropout": 0.0}),
        Trial("dropout_0.2", train={"caption_dropout": 0.2}),
        Trial("uniform_sigma", train={"sigma": {"density": "uniform"}}),
        Trial("noisy_sigma", train={"sigma": {"density": "logit_normal", "logit_mean": 0.5}}),
        Trial("average", train={"ema_decay": 0.98}),
        Trial("constant", train={"schedule": "constant"}),
        *(Trial(f"weight_{weight:g}", editor={"lora_weight": weight}) for weight in (0.5, 0.75, 1.25)),
        *(Trial(f"characters_{number}", characters=number) for number in (1, 3)),
        *(
            Trial(f"both_{steps}_{rate:g}", approved=False, lora=wide, train={"steps": steps, "learning_rate": rate})
            for steps in (400, 800)
            for rate in (3e-4, 1e-3, 2e-3)
        ),
        *(
            Trial(f"batch_8_{steps}_{rate:g}", train={"steps": steps, "learning_rate": rate, "batch_size": 8})
            for steps in (200, 400)
            for rate in (5e-4, 1e-3)
        ),
    ]
    return {trial.name: trial for trial in found}


@dataclass(frozen=True)
class Plan:
    """What every process of the search knows."""

    work: Path
    recipe: Recipe
    characters: int
    others: int
    judged: int
    """Edits judged a character."""

    def world(self, index: int) -> World:
        return open_world(self.work, ARM, self.recipe, f"character-{index}")

    def learned(self) -> list[int]:
        return list(range(self.characters))

    def unseen(self) -> list[int]:
        return list(range(self.characters, self.characters + self.others))


def collect(plan: Plan, index: int, *, threads: int = 1) -> Row:
    """A character's first edits, reviewed, and its lessons encoded for all recipes; in a process of its own."""
    _alone(threads)
    world = plan.world(index)
    world.settings.root.mkdir(parents=True, exist_ok=True)
    add_character(world, FIRST_SEED + index)
    outcome = run_turn(world, 1)
    own = get_triplets(world.store, gather_lessons(world.store, world.name).usable).triplets
    if own:
        train(plan, Trial("encode", train={"steps": 1}), put_triplets(world.store, own))
    return {
        "case": world.name,
        "corrections_per_100": outcome.corrections_per_100,
        "good": outcome.good,
        "corrected": outcome.corrected,
        "rejected": outcome.rejected,
        "seconds": outcome.seconds,
    }


def lessons(plan: Plan) -> str:
    """Digest of the lessons of the characters that are learned from."""
    store = plan.world(0).store
    own = {plan.world(index).name for index in plan.learned()}
    usable = get_triplets(store, gather_lessons(store, None).usable).triplets
    return put_triplets(store, [triplet for triplet in usable if triplet.character in own])


def judged_edits(plan: Plan, index: int) -> tuple[EditItem, ...]:
    """New edits of a character that was learned from: another turn's. The first ones of a character that was not."""
    world = plan.world(index)
    pool = Library(world.store).pool(world.name)
    sources = [entry.image for entry in pool if entry.real]
    learned = index < plan.characters
    cells = [entry for entry in pool if entry.real] if learned else []
    return plan_edits(sources, cells, plan.recipe, turn=7)[: plan.judged]


def judged(plan: Plan, index: int, loras: tuple[LoraUse, ...]) -> Counter[str]:
    """Edits, those not taken as they are, and why."""
    world = plan.world(index)
    store, items = world.store, judged_edits(plan, index)
    sources = [entry.image for entry in Library(store).pool(world.name) if entry.real]
    request = EnrichRequest(
        character=Library(store).character(world.name).ref(),
        sources=store.put_images(sources),
        items=items,
        editor=plan.recipe.models.editor,
        loras=loras,
        sampler=plan.recipe.enrich.sampler,
        turn=7,
    )
    images = store.get_images(world.stage(ENRICH, request).images)
    found = Counter(edits=len(images))
    for item in judge(store, world.settings, images, world.truth()):
        found["bad"] += item.verdict is not Verdict.GOOD
        found.update(item.reasons)
    return found


def chosen_lessons(plan: Plan, trial: Trial, digest: str) -> str:
    """Digest of the lessons a trial takes."""
    store = plan.world(0).store
    names = {plan.world(index).name for index in plan.learned()[: trial.characters]}

    def taken(triplet: Triplet) -> bool:
        return triplet.character in names and (trial.approved or triplet.kind == "corrected")

    return put_triplets(store, [triplet for triplet in get_triplets(store, digest).triplets if taken(triplet)])


def train(plan: Plan, trial: Trial, triplets: str) -> LoraRecord:
    """The editor's LoRA of a trial."""
    editor = plan.recipe.editor.model_copy(update=trial.editor)
    lora = {**editor.train.lora.model_dump(), **trial.lora}
    recipe = editor.train.model_validate({**editor.train.model_dump(), **trial.train, "lora": lora})
    request = EditTrainRequest(
        name=trial.name,
        triplets=triplets,
        editor=plan.recipe.models.editor,
        recipe=recipe,
        changed_weight=editor.changed_weight,
        kept_weight=editor.kept_weight,
        corrections_weight=editor.corrections_weight,
        mistake_weight=editor.mistake_weight,
        distilled_guidance=editor.distilled_guidance,
        anchor=editor.anchor,
        corrections_teach=editor.corrections_teach,
        comparison_strength=editor.comparison_strength,
        seed=editor.seed,
    )
    return plan.world(0).stage(EDIT_TRAIN, request).lora


def train_and_judge(plan: Plan, digest: str, trial: Trial) -> Row:
    """A row of the result; in a process of its own."""
    _alone()
    began = time.monotonic()
    lora = train(plan, trial, chosen_lessons(plan, trial, digest))
    training_seconds = time.monotonic() - began
    weight = trial.editor.get("lora_weight", plan.recipe.editor.lora_weight)
    row: dict[str, str | int | float | bool | None] = {
        "case": trial.name,
        "lessons": lora.images,
        "steps": lora.steps,
        "rank": lora.rank,
        "training_seconds": training_seconds,
    }
    use = (LoraUse(digest=lora.digest, weight=weight),)
    return {**row, **figures(plan, use), "seconds": time.monotonic() - began}


def figures(plan: Plan, use: tuple[LoraUse, ...]) -> dict[str, float]:
    """Corrections per 100 edits, and the shares that missed each thing, for learned and for unseen characters."""
    found: dict[str, float] = {}
    for name, indices in (("learned", plan.learned()), ("unseen", plan.unseen())):
        total: Counter[str] = Counter()
        for index in indices:
            total += judged(plan, index, use)
        found[f"corrections_per_100_{name}"] = 100 * total["bad"] / max(1, total["edits"])
        for reason in ("identity", "expression", "angle", "background"):
            found[f"missed_{reason}_{name}"] = total[reason] / max(1, total["edits"])
    return found


def before(plan: Plan) -> Row:
    """The bare editor."""
    _alone()
    return {"case": "before", **figures(plan, ())}


def _alone(threads: int = 1) -> None:
    import torch

    torch.set_num_threads(threads)


def _guarded(call: Callable[[], Row], name: str) -> Row | None:
    try:
        return call()
    except Exception:
        print(f"{name} failed", flush=True)
        traceback.print_exc()
        return None


def _one(plan: Plan, digest: str, name: str) -> Row | None:
    work = partial(before, plan) if name == "before" else partial(train_and_judge, plan, digest, trials()[name])
    return _guarded(work, name)


def main() -> None:
    """Writes the result file after every recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspace; a second run goes on there")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--characters", type=int, default=6, help="characters that lessons come from")
    parser.add_argument("--others", type=int, default=4, help="characters that are only judged")
    parser.add_argument("--edits", type=int, help="edits a character, if not the recipe's")
    parser.add_argument("--judged", type=int, default=12, help="edits judged a character")
    parser.add_argument("--recipes", nargs="+", default=[name for name in trials() if name != "quick"])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    plan = Plan(
        options.work, nano_recipe(None, options.edits, None), options.characters, options.others, options.judged
    )
    rows: list[Row] = []
    with ProcessPoolExecutor(options.workers) as processes:
        for row in processes.map(partial(collect, plan), plan.learned() + plan.unseen()):
            print(row, flush=True)
        digest = lessons(plan)
        names: Sequence[str] = ["before", *options.recipes]
        for future in as_completed([processes.submit(_one, plan, digest, name) for name in names]):
            found = future.result()
            if found is not None:
                rows.append(found)
                print(found, flush=True)
                write_result("nano_editor_search", rows, folder=options.out)


if __name__ == "__main__":
    main()
