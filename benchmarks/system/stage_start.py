"""Seconds until a nano stage has made its first item, with the libraries imported ahead and without, turn about.

python -m benchmarks.system.stage_start

Both ways run in one sitting on one machine. The first stage of a process, which waits for the imports all the same, counts for neither.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.speed import rehearsal_requests as ask
from benchmarks.speed.rehearsal_models import Places, make_folders
from benchmarks.speed.rehearsal_requests import Rehearsal
from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.base import StageRequest
from flenwheel_core.runner.launch import prepare, run_in_child
from flenwheel_core.runner.stage import find_stage
from flenwheel_core.store import Store


def main() -> None:
    """Writes the result file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=5, help="how often each stage begins each way")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stage-start-") as folder:
        write_result("stage_start", measured(Path(folder), arguments.times), folder=arguments.out)


def measured(folder: Path, times: int) -> list[Row]:
    """A row for each stage: the medians of both ways."""
    settings = Settings(workspace=folder / "workspace", gpu="cpu")
    recipe = load_recipe("nano")
    places = Places(folder, folder)
    models = make_folders(recipe, ["generate", "enrich"], places)
    rehearsal = Rehearsal.begin(Store(settings.store_url), recipe, models, settings.root)
    sampler = recipe.enrich.sampler
    requests: dict[str, Callable[[int], StageRequest]] = {
        "generate": lambda number: ask.generate(rehearsal, pictures=number),
        "enrich": lambda number: ask.enrich(rehearsal, edits=1, sampler=sampler, few_step=False, turn=number),
    }
    ways = {way: settings.model_copy(update={"import_ahead": way}) for way in (True, False)}
    prepare(ways[True])
    first_item(requests["generate"](1), ways[True])
    rows: list[Row] = []
    for name, request in requests.items():
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for number in range(times):
            for way, told in ways.items():
                seconds[way].append(first_item(request(2 + 2 * number + way), told))
        rows.append(
            {
                "case": name,
                "times": times,
                "ahead_seconds": statistics.median(seconds[True]),
                "anew_seconds": statistics.median(seconds[False]),
            }
        )
    return rows


def first_item(request: StageRequest, settings: Settings) -> float:
    """Seconds until a stage has made its first item."""
    began, found = time.monotonic(), list[float]()

    def hear(event: ProgressEvent) -> None:
        if event.kind == "step" and event.done and not found:
            found.append(time.monotonic() - began)

    run_in_child(find_stage(request.stage), request, settings, hear)
    return found[0]


if __name__ == "__main__":
    main()
