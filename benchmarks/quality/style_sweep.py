"""Which blocks and rank of nano FLUX learn a painter best at equal steps: the sweep of `flenwheel search --blocks --ranks`, on one painter.

Each LoRA is trained by the stage `train` and drawn at full strength; its score is the share of content kept less the style distance, as
the command has it. `share_of_best` is the distance over that of the nearest; sizes are those of the files, in bf16. Needs no card.

    python -m benchmarks.quality.style_sweep --steps 250
"""

import argparse
import json
import os
import tempfile
import threading
from pathlib import Path

import torch

from benchmarks.quality.style import FIRST_PAINTER
from benchmarks.quality.style_world import (
    CLASS_WORD,
    SAMPLER,
    TRIGGER,
    Seen,
    World,
    lost_points,
    style_of,
    trained_paintings,
)
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.nano.paintings import content
from flenwheel_core.plans.search import Trial, smallest_near_best, sweep
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.train import TrainItem, TrainRequest, TrainResult
from flenwheel_core.runner.launch import SPINS
from flenwheel_core.runner.stage import TRAIN
from flenwheel_core.runner.worker import run_stage
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

NAME = "style_sweep"
RANKS = (4, 16)
BLOCKS = ((), ("single_late",), ("double_late",))
NEAR = 0.05


class Sweep:
    """One painter, and LoRAs of him."""

    def __init__(self, folder: Path, painter: int, steps: int) -> None:
        self.settings = Settings(workspace=folder, gpu="cpu", threads=torch.get_num_threads())
        self.store = Store(self.settings.store_url)
        self.world = World(folder)
        self.paintings, self.style = trained_paintings(painter), style_of(painter)
        self.base = self.world.seen(self.world.draw(""), self.paintings)
        self.measured: dict[str, Seen] = {}
        self.steps = steps

    def request(self) -> TrainRequest:
        """The recipe's training, for so many steps."""
        recipe = load_recipe("nano_style").train
        recipe = recipe.model_copy(
            update={
                "steps": self.steps,
                "min_epochs": None,
                "sampling": recipe.sampling.model_copy(update={"every_steps": 0}),
            }
        )
        items = tuple(
            TrainItem(
                image=self.store.put_blob(encode_png(image, {})),
                caption=f"{content(index)}, {TRIGGER} {CLASS_WORD}",
                real=True,
            )
            for index, image in enumerate(self.paintings)
        )
        who = CharacterRef(name="painter", trigger=TRIGGER, class_word=CLASS_WORD, kind="style")
        return TrainRequest(
            character=who, name="sweep", items=items, base="nano", recipe=recipe, seed=1, sampler=SAMPLER
        )

    def train(self, request: TrainRequest) -> TrainResult:
        progress = Progress("train", lambda event: None)
        stop = threading.Event()
        result = run_stage(TRAIN, request, self.settings, progress, memory_level=0, stop=stop)  # type: ignore[arg-type]
        assert isinstance(result, TrainResult)
        return result

    def score(self, trained: TrainResult, strength: float) -> float:
        """As `flenwheel search` scores a style."""
        path = self.settings.root / f"{trained.lora.digest}.safetensors"
        path.write_bytes(self.store.get_blob(trained.lora.digest))
        found = self.world.seen(self.world.draw(f", {TRIGGER} {CLASS_WORD}", path, strength), self.paintings)
        self.measured[trained.lora.digest] = found
        return float(found.content.mean()) - self.style.distance(found.features).total

    def row(self, trial: Trial) -> Row:
        found, lora = self.measured[trial.trained.lora.digest], trial.recipe.lora
        distance = self.style.distance(found.features)
        return {
            "case": f"{'+'.join(lora.blocks) or 'all'}_rank{lora.rank}",
            "score": trial.score,
            "distance": distance.total,
            "distance_low": distance.low,
            "distance_high": distance.high,
            "share_of_base": distance.total / self.style.distance(self.base.features).total,
            "content": float(found.content.mean()),
            "content_lost_points": lost_points(found, self.base)[0],
            "copied": found.copied,
            "file_bytes": self.size(trial),
        }

    def size(self, trial: Trial) -> int:
        return len(self.store.get_blob(trial.trained.lora.digest))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--painter", type=int, default=FIRST_PAINTER)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))  # as in a stage's process
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        tried = Sweep(Path(folder), arguments.painter, arguments.steps)
        rows: list[Row] = []

        def told(trial: Trial) -> None:
            rows.append(tried.row(trial))
            print(json.dumps(rows[-1]), flush=True)
            write_result(NAME, rows, folder=arguments.out)  # what was measured stands if the rest is broken off

        found = sweep(tried.request(), ranks=RANKS, blocks=BLOCKS, train=tried.train, score=tried.score, on_trial=told)
        small = smallest_near_best(found, tried.size, within=NEAR)
        best = min(float(str(row["distance"])) for row in rows)
        chosen = tried.row(small)["case"]
        rows = [
            {
                **row,
                "share_of_best": float(str(row["distance"])) / best,
                "is_default": row["case"] == chosen,
                "steps": arguments.steps,
                "drawn": tried.world.drawn,
            }
            for row in rows
        ]
        write_result(NAME, rows, folder=arguments.out)


if __name__ == "__main__":
    main()
