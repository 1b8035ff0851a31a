"""Are pictures that do not belong found by how they are learned? Planted ones among good ones, held-out nano characters.

The plan, fixed before the run; measure, looks and kinds were chosen on five other characters. To each character's pool (its sources and the
edits that were taken) are added, as if a person had let them in by mistake: `--planted` pictures of other characters under its name, and
as many of the pool's own edits turned round (left is right, and so is the caption), in place of the right ones. It is trained as the
recipe has it up to the last look; looks are taken after 5 % and 25 % of the steps. `find_doubts` then brings back at most 6 pictures at
the recipe's limit of 3 deviations. Claimed is how often each kind is found, with its interval over pictures, and how many of the good
ones are brought back with them; other limits are reported besides. Then it is trained once more without those that were brought back:
reported is how far planted and good ones are learned from the others alone. In world 2 the sources hold a stranger as well, whom the
maker's folder brought: counted as `stranger_source`.

    python -m benchmarks.quality.doubtful_pictures --work /tmp/one --workers 10
    python -m benchmarks.quality.doubtful_pictures --work /tmp/o --characters 1 --edits 6 --steps 40 --workers 1
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context

from PIL import Image, ImageOps

from benchmarks.quality.checkpoint_choice import longer
from benchmarks.quality.one_training import (
    FIRST_SEED,
    Prepared,
    Subject,
    made_entry,
    one_recipe,
    parser_of,
    prepare,
    train,
    train_request,
)
from benchmarks.result_file import Row, write_result
from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.doubts import Doubt
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.evaluation.doubts import find_doubts, with_left_out
from flenwheel_core.nano.demo import load_truth
from flenwheel_core.nano.world import make_character, make_view, render
from flenwheel_core.nano.world.version import shipped_world
from flenwheel_core.plans.doubts import without
from flenwheel_core.recipes.doubts import DoubtsRecipe
from flenwheel_core.store.pictures import encode_png, load_picture

NAME = "doubtful_pictures"
RECIPE = DoubtsRecipe(look=(0.05, 0.25))
LIMITS = (2.0, 2.5, 3.0, 3.5, 4.0)
GOOD, STRANGER, TURNED, STRANGER_SOURCE = "good", "stranger", "turned", "stranger_source"
KINDS = (STRANGER, TURNED, STRANGER_SOURCE, GOOD)
OTHER_SIDE = {
    "half-left": "half-right",
    "half-right": "half-left",
    "profile-left": "profile-right",
    "profile-right": "profile-left",
}
FIRST = 20
"""The first character: measure and looks were chosen on others."""
STEP = 90_000
"""How far the seeds of the strangers lie: other ones than the sources of world 2 hold."""


def planted(subject: Subject, prepared: Prepared, number: int) -> tuple[Prepared, dict[str, str]]:
    """The pool with pictures that do not belong, and what each picture is."""
    store, pool = subject.store, list(prepared.pool)
    truth = load_truth(subject.settings.root / "truth.json")
    kinds = {entry.image.digest: GOOD for entry in pool}
    for entry in pool:
        if entry.real and entry.image.item not in truth.source_views:
            kinds[entry.image.digest] = STRANGER_SOURCE
    edits = [entry for entry in pool if not entry.real and entry.image.labels.pose in (None, "portrait")]
    for entry in edits[:number]:
        turned = ImageOps.mirror(load_picture(store, entry.image.digest))
        labels = entry.image.labels
        labels = labels.model_copy(update={"angle": OTHER_SIDE.get(labels.angle or "", labels.angle)})
        other = _record(subject, turned, labels, f"turned-{entry.image.item}")
        del kinds[entry.image.digest]
        pool[pool.index(entry)] = made_entry(other, subject)
        kinds[other.digest] = TURNED
    for index in range(number):
        seed = FIRST_SEED + subject.index
        view = replace(make_view(seed * 100 + index, portrait_share=1), style="photo", clothing=None)
        picture = render(make_character(seed + STEP + index), view)
        labels = Labels(angle=view.angle, expression=view.expression, pose="portrait", background=view.background)  # type: ignore[arg-type]
        other = _record(subject, picture, labels, f"stranger-{index}")
        pool.append(made_entry(other, subject))
        kinds[other.digest] = STRANGER
    return replace(prepared, pool=tuple(pool)), kinds


def _record(subject: Subject, picture: Image.Image, labels: Labels, item: str) -> ImageRecord:
    digest = subject.store.put_blob(encode_png(picture, {}))
    return ImageRecord(
        digest=digest,
        width=picture.width,
        height=picture.height,
        kind=ImageKind.ENRICHED,
        stage="enrich",
        request=digest,
        item=item,
        labels=labels,
    )


def one_character(subject: Subject, number: int) -> list[Row]:
    """Rows of a character: what was found at each limit, and every picture's course; in a process of its own."""
    import torch

    torch.set_num_threads(1)
    began = time.monotonic()
    prepared, kinds = planted(subject, prepare(subject), number)
    items = prepared.items(subject)
    subject = longer(subject, subject.recipe.train.for_pictures(len(items)).steps)
    whole = train_request(subject, prepared, items, "planted", look_at=RECIPE.steps(subject.recipe.train.steps))
    request = whole.model_copy(update={"recipe": without(whole, ()).recipe})  # nothing after the last look is asked for
    looks = train(subject, request).looks
    labels = {entry.image.digest: entry.image.labels for entry in prepared.pool}
    rows: list[Row] = []
    for limit in LIMITS:
        recipe = RECIPE.model_copy(update={"limit": limit})
        found = find_doubts(looks, labels, recipe, "planted")
        rows.append({"case": f"{subject.name} limit {limit:g}", "limit": limit, **_counts(found, kinds)})
    doubts = find_doubts(looks, labels, RECIPE, "planted")
    if doubts:
        again = train(subject, without(whole, doubts))
        real = frozenset(item.image for item in items if item.real)
        doubts = with_left_out(doubts, looks, again.looks, real, labels)
    rows += [_left_out_row(subject, place, one, kinds) for place, one in enumerate(doubts)]
    rows.append(
        {
            "case": f"{subject.name} training",
            "pictures": len(items),
            "steps": request.recipe.steps,
            "training_steps": subject.recipe.train.steps,
            "seconds": time.monotonic() - began,
        }
    )
    return rows


def _counts(found: Sequence[Doubt], kinds: Mapping[str, str]) -> dict[str, int]:
    brought = [kinds[one.image] for one in found]
    every = list(kinds.values())
    return {
        f"{kind}_{name}": own.count(kind) for kind in KINDS for name, own in (("found", brought), ("in_all", every))
    }


def _left_out_row(subject: Subject, place: int, doubt: Doubt, kinds: Mapping[str, str]) -> Row:
    out = doubt.left_out
    return {
        "case": f"{subject.name} doubt {place + 1}",
        "kind": kinds[doubt.image],
        "deviations": doubt.deviations,
        "gain": doubt.course[0].gain,
        "usual_gain": doubt.course[0].usual,
        "left_out_gain": None if out is None else out.gain,
        "left_out_usual": None if out is None else out.usual,
    }


def summary(rows: Sequence[Row]) -> list[Row]:
    """Found and brought back at each limit, over all characters."""
    found: list[Row] = []
    for limit in LIMITS:
        own = [row for row in rows if row.get("limit") == limit]
        row: dict[str, str | int | float | bool | None] = {
            "case": f"summary limit {limit:g}",
            "characters": len(own),
        }
        for kind in KINDS:
            hits, every = (sum(int(one[f"{kind}_{name}"] or 0) for one in own) for name in ("found", "in_all"))
            rate = wilson(hits, every)
            row |= {f"{kind}_found": hits, f"{kind}_in_all": every}
            if every:
                row |= {f"{kind}_share": rate.value, f"{kind}_low": rate.low, f"{kind}_high": rate.high}
        found.append(row)
    return found


def main() -> None:
    """Writes the result file after every character."""
    parser = parser_of(__doc__)
    parser.add_argument("--planted", type=int, default=2, help="strangers, and as many turned pictures")
    options = parser.parse_args()
    recipe = one_recipe(options.steps, options.gpu)
    rows: list[Row] = []
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as processes:
        subjects = [
            Subject(options.work, FIRST + index, recipe, options.edits, 3, options.gpu)
            for index in range(options.characters)
        ]
        for future in as_completed([processes.submit(one_character, one, options.planted) for one in subjects]):
            rows += future.result()
            world: Row = {"case": "world", "world": shipped_world()}
            write_result(NAME, [world, *summary(rows), *rows], folder=options.out)
            print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
