"""How well a LoRA learns a nano character and leaves the class word alone, on characters no model and no search has seen.

Each character: 12 pictures, the shipped recipe `nano`, then the 20 portrait cells of the model card with the trigger and with the
class word, before and after. Identity is the cosine with the mean embedding of the character's own pictures; `class_kept` is the cosine
between what the class word drew before and after; angle, expression and background are what the reader sees.
`seconds` are by the clock, `core_seconds` of all cores together: on a busy machine the clock counts other work too.

    python -m benchmarks.quality.nano_learning --characters 10
    python -m benchmarks.quality.nano_learning --characters 1 --first 3 --keep
    python -m benchmarks.quality.nano_learning --characters 2 --recipe '{"prior": {"share": 0.5}}' --name try
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.quality.nano_cells import CELLS
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import TrainHooks, TrainJob, TrainPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.flux1.generator import FluxGenerator
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.trainer import train_lora
from flenwheel_core.models.protocols import GenerateJob, ModelSetup
from flenwheel_core.nano.measure import NanoEmbedder, NanoReader
from flenwheel_core.nano.threshold import SAME_CHARACTER
from flenwheel_core.nano.world import (
    HELD_OUT_FROM,
    Character,
    caption,
    make_character,
    render,
    source_views,
)
from flenwheel_core.recipes.loading import RECIPES
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.runner.launch import SPINS

NAME = "nano_learning"
FIRST = HELD_OUT_FROM + 77_000
TRIGGER, CLASS_WORD = "ohwx_char", "person"
SAMPLER = Sampler(steps=20, guidance=3.5, true_cfg=1.0, width=128, height=128)
PICTURES = 12
ROOT = Path(__file__).resolve().parents[2]
READ = ("angle", "expression", "background")


def nano_recipe(changes: dict[str, object]) -> TrainingRecipe:
    """The nano recipe's training part, with some of it changed."""
    plain = tomllib.loads((RECIPES / "nano.toml").read_text())["train"]
    plain["sampling"] = {"every_steps": 0}
    for key, value in changes.items():
        plain[key] = {**plain.get(key, {}), **value} if isinstance(value, dict) else value
    return TrainingRecipe.model_validate(plain)


class World:
    """The nano models, loaded once, and a cache that all characters share."""

    def __init__(self, folder: Path, flux: Path | None = None) -> None:
        self.folder = folder
        self.model = FluxModel(flux or weights_folder("flux"), "nano", torch.device("cpu"), torch.float32)
        self.embedder = NanoEmbedder()
        self.reader = NanoReader()

    def draw(self, character: Character, name: str | None, lora: Path | None) -> list[Image.Image]:
        """The cells with this name for the subject; without one it is a person."""
        loras = () if lora is None else (LoraFile(lora, 1.0),)
        generator = FluxGenerator(self.model, TensorCache(self.folder / "cache"), ModelSetup(loras=loras))
        texts = [caption(character, view, name=name, describe=False) for view in CELLS]
        jobs = [GenerateJob(str(i), text, 700 + i, SAMPLER) for i, text in enumerate(texts)]
        return [made.image for made in generator.generate(jobs)]

    def shown(self, images: Sequence[Image.Image]) -> dict[str, float]:
        """The share of cells in which the reader sees what was asked for."""
        found = self.reader.read(images)
        return {
            f"{fact}_accuracy": float(
                np.mean([r[fact] == getattr(view, fact) for r, view in zip(found, CELLS, strict=True)])
            )
            for fact in READ
        }


def learn(world: World, number: int, recipe: TrainingRecipe) -> tuple[Row, list[Image.Image]]:
    """Train on one held-out character and measure; the row, and truth and drawn pictures for a sheet."""
    character = make_character(FIRST + number)
    views = source_views(FIRST + number, PICTURES)
    images = [render(character, view) for view in views]
    folder = Path(tempfile.mkdtemp(dir=world.folder))
    pictures = tuple(
        TrainPicture(
            digest_bytes(image.tobytes()), caption(character, view, name=f"{TRIGGER} {CLASS_WORD}"), image.copy
        )
        for image, view in zip(images, views, strict=True)
    )
    job = TrainJob(
        run=str(number),
        name=f"character{number}",
        pictures=pictures,
        trigger=TRIGGER,
        class_word=CLASS_WORD,
        recipe=recipe,
        seed=number,
        sampler=SAMPLER,
        sample_prompts=(),
        folder=folder,
    )
    began, worked = time.monotonic(), time.process_time()
    hooks = TrainHooks(lambda: False, lambda _step, _loss: None, lambda _note: None, lambda _part: None)
    # A cache of its own: the seconds hold everything a user waits for, encoding and class pictures too.
    trained = train_lora(world.model, job, hooks, TensorCache(folder / "cache"))
    seconds, worked = time.monotonic() - began, time.process_time() - worked
    lora = folder / "lora.safetensors"
    lora.write_bytes(trained.lora)

    portraits = [image for image, view in zip(images, views, strict=True) if view.pose == "portrait"]
    centre = world.embedder.embed(portraits).mean(0)
    centre /= np.linalg.norm(centre)
    named = f"{TRIGGER} {CLASS_WORD}"
    before, after = (world.draw(character, named, path) for path in (None, lora))
    class_before, class_after = (world.draw(character, None, path) for path in (None, lora))
    truth = [render(character, view) for view in CELLS]
    vectors = {
        name: world.embedder.embed(drawn)
        for name, drawn in (("before", before), ("after", after), ("was", class_before), ("is", class_after))
    }
    identity = {name: vector @ centre for name, vector in vectors.items()}
    row: Row = {
        "case": f"character{number}",
        "seconds": seconds,
        "core_seconds": worked,
        "threads": torch.get_num_threads(),
        "identity_cosine": float(identity["after"].mean()),
        "identity_cosine_class_word": float(identity["is"].mean()),
        **world.shown(after),
        "same_character": float((identity["after"] >= SAME_CHARACTER).mean()),
        "identity_cosine_lowest": float(identity["after"].min()),
        "identity_cosine_before": float(identity["before"].mean()),
        "identity_cosine_class_word_before": float(identity["was"].mean()),
        "identity_cosine_renders": float((world.embedder.embed(truth) @ centre).mean()),
        "class_kept": float((vectors["was"] * vectors["is"]).sum(1).mean()),
        "last_loss": trained.losses[-1].loss,
    }
    return row, [*truth, *after, *class_before, *class_after]


def learn_one(number: int, changes: dict[str, object], threads: int, flux: Path | None, sheets: Path | None) -> Row:
    """The row of one character, measured in this process."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        row, pictures = learn(World(Path(folder), flux), number, nano_recipe(changes))
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        sheet(pictures).save(sheets / f"{NAME}_{number}.png")
    return row


def with_mean(rows: Sequence[Row]) -> list[Row]:
    """The rows of characters and one with their means."""
    figures = [key for key, value in rows[0].items() if key != "case" and value is not None]
    return [*rows, {"case": "mean", **{key: float(np.mean([float(row[key] or 0) for row in rows])) for key in figures}}]


def rows_there(folder: Path, name: str) -> list[Row]:
    """The characters of the result file, if there is one."""
    path = folder / f"{name}.json"
    rows: list[Row] = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row for row in rows if row["case"] != "mean"]


def sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Truth, trigger, class word before and after, a row each."""
    columns = len(CELLS)
    found = Image.new("RGB", (columns * 130, len(pictures) // columns * 130))
    for index, picture in enumerate(pictures):
        found.paste(picture, ((index % columns) * 130, (index // columns) * 130))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--characters", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="keep the result file's rows of other characters")
    parser.add_argument("--recipe", default="{}", help="changes to the recipe, JSON")
    parser.add_argument("--flux", type=Path, help="another FLUX folder than the shipped one")
    parser.add_argument("--threads", type=int, default=2, help="of each character")
    parser.add_argument("--processes", type=int, default=1, help="characters at a time")
    parser.add_argument("--name", default=NAME, help="name of the result file")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--sheets", type=Path, help="folder for a sheet a character")
    arguments = parser.parse_args()
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))  # as in a stage's process
    changes = json.loads(arguments.recipe)
    numbers = range(arguments.first, arguments.first + arguments.characters)
    kept = rows_there(arguments.out, arguments.name) if arguments.keep else []
    rows = {str(row["case"]): row for row in kept}
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        waiting = [
            pool.submit(learn_one, number, changes, arguments.threads, arguments.flux, arguments.sheets)
            for number in numbers
        ]
        for done in as_completed(waiting):
            row = done.result()
            rows[str(row["case"])] = row
            print(json.dumps(row), flush=True)
            ordered = [rows[case] for case in sorted(rows, key=lambda case: int(case.removeprefix("character")))]
            write_result(
                arguments.name,
                with_mean(ordered),
                folder=arguments.out,
                command="python -m benchmarks.quality.nano_learning",
            )


if __name__ == "__main__":
    main()
