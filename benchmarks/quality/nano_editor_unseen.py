"""What Flywheel 2 gives characters it never saw: their first edits by the bare editor and by each promoted one, judged by the reviewer.

The editors come from the workspace of a run of `nano_flywheels --arms editor_only`. A row a character and editor, and the means.

    python -m benchmarks.quality.nano_editor_unseen --editors /tmp/flywheels/editor_only --work /tmp/unseen --characters 6 --workers 2
"""

import argparse
import multiprocessing
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.quality.nano_flywheels import FIRST_SEED, start_process
from benchmarks.quality.nano_turn import (
    ARMS,
    EditsAreEnough,
    NanoRunner,
    add_character,
    nano_recipe,
    open_turn,
    open_world,
)
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.library.editors import EditorLibrary
from flenwheel_core.nano.reviewer import judge
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.runner.stage import ENRICH
from flenwheel_core.store import Store
from flows.flywheel1 import run_turn

FIRST_UNSEEN = FIRST_SEED + 100
BARE = "bare editor"


def judged(work: Path, editors: Path, index: int) -> list[Row]:
    """A row for each editor; in a process of its own."""
    world = open_world(work, ARMS["editor_only"], nano_recipe(None, None, None), f"unseen-{index}")
    world.settings.root.mkdir(parents=True, exist_ok=True)
    add_character(world, FIRST_UNSEEN + index)
    turn = open_turn(world, 1)
    runner = NanoRunner(world, turn)
    with suppress(EditsAreEnough):
        run_turn(turn, runner)
    edits = runner.asked[ENRICH.name]
    assert isinstance(edits, EnrichRequest)
    rows: list[Row] = []
    for name, loras in worn(world.store, editors).items():
        images = world.store.get_images(world.stage(ENRICH, edits.model_copy(update={"loras": loras})).images)
        found = judge(world.store, world.settings, images, world.truth())
        wrong = sum(item.verdict is not Verdict.GOOD for item in found)
        rows.append(
            {
                "case": f"{name} {world.name}",
                "editor": name,
                "character": world.name,
                "edits": len(found),
                "corrections_per_100": 100 * wrong / len(found),
                "missed_identity": sum("identity" in item.reasons for item in found),
                "missed_expression": sum("expression" in item.reasons for item in found),
            }
        )
    return rows


def worn(store: Store, editors: Path) -> dict[str, tuple[LoraUse, ...]]:
    """The LoRAs of the bare editor, which are none, and of each promoted one, by name; their files are kept in the store."""
    settings = Settings(workspace=editors, store=None)
    theirs = Store(settings.store_url, settings.store_options)
    found: dict[str, tuple[LoraUse, ...]] = {BARE: ()}
    for number, promotion in enumerate(EditorLibrary(theirs).champions(), start=1):
        digest = store.put_blob(theirs.get_blob(promotion.lora.digest))
        found[f"promotion {number}"] = (LoraUse(digest=digest, weight=promotion.weight),)
    return found


def means(rows: list[Row]) -> list[Row]:
    """Over all characters, for each editor."""
    figures = ("edits", "corrections_per_100", "missed_identity", "missed_expression")
    found: list[Row] = []
    for editor in dict.fromkeys(str(row["editor"]) for row in rows):
        own = [row for row in rows if row["editor"] == editor]
        average = {name: statistics.fmean(float(row[name] or 0) for row in own) for name in figures}
        found.append({"case": f"mean {editor}", "editor": editor, "characters": len(own), **average})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--editors", type=Path, required=True, help="workspace whose promoted editors are judged")
    parser.add_argument("--work", type=Path, required=True, help="folder for the workspace of the unseen characters")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--characters", type=int, default=6)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    start = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, start, start_process, ((), 1)) as processes:
        done = processes.map(partial(judged, options.work, options.editors), range(options.characters))
        rows = [row for found in done for row in found]
    rows += means(rows)
    for row in rows:
        print(row, flush=True)
    write_result("nano_editor_unseen", rows, folder=options.out)


if __name__ == "__main__":
    main()
