"""How well a LoRA learns a nano character and leaves the class word alone, on characters no model has seen.

Each character: 12 pictures, the recipe of `recipes/nano.toml`, then 8 prompts with the trigger and the same 8 with the
class word, before and after. Identity is the cosine with the mean embedding of the character's own pictures; `kept` is
the cosine between what the class word drew before and after; `view_facts` the share of asked-for view facts that are shown.

    python -m benchmarks.nano_learning --characters 10
    python -m benchmarks.nano_learning --characters 2 --recipe '{"prior": {"share": 0.5}}' --name try
"""

import argparse
import json
import tempfile
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.result_file import Row, write_result
from flenwheel_core.domain.images import Sampler
from flenwheel_core.families.flux.generator import FluxGenerator
from flenwheel_core.families.flux.loading import FluxModel
from flenwheel_core.families.flux.trainer import train_lora
from flenwheel_core.families.protocols import GenerateJob, LoraFile
from flenwheel_core.ids import digest_bytes
from flenwheel_core.nano import weights_folder
from flenwheel_core.nano.measure import VIEW_FACTS, NanoEmbedder, NanoReader
from flenwheel_core.nano.world import (
    ANGLES,
    BACKGROUNDS,
    EXPRESSIONS,
    HELD_OUT_FROM,
    LIGHTINGS,
    Character,
    View,
    caption,
    make_character,
    make_view,
    render,
)
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.training.cache import TensorCache
from flenwheel_core.training.job import TrainHooks, TrainJob, TrainPicture

TRIGGER = "ohwx_char"
SAMPLER = Sampler(steps=20, width=128, height=128)
PICTURES = 12
ROOT = Path(__file__).resolve().parents[1]


def source_views(seed: int) -> list[View]:
    """Views as a person's pictures have them: every angle, mostly portraits."""
    views = []
    for index in range(PICTURES):
        view = make_view(seed * 1000 + index, portrait_share=0.85)
        views.append(replace(view, angle=ANGLES[index % 5], style="photo", clothing=None))
    return views


PROMPT_VIEWS = [
    View(
        ANGLES[i % 5], EXPRESSIONS[i % 4], "portrait", BACKGROUNDS[(3 * i) % 7], LIGHTINGS[(i * 3 + i // 4) % 4], seed=i
    )
    for i in range(8)
]


def nano_recipe(changes: dict[str, object]) -> TrainingRecipe:
    """The nano recipe's training part, with some of it changed."""
    plain = tomllib.loads((ROOT / "recipes" / "nano.toml").read_text())["train"]
    plain["sampling"] = {"every_steps": 0}
    for key, value in changes.items():
        plain[key] = {**plain.get(key, {}), **value} if isinstance(value, dict) else value
    return TrainingRecipe.model_validate(plain)


class World:
    """The nano models, loaded once, and a cache that all characters share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = FluxModel(weights_folder("flux"), "nano", torch.device("cpu"), torch.float32)
        self.cache = TensorCache(folder / "cache")
        self.embedder = NanoEmbedder()
        self.reader = NanoReader()

    def draw(self, character: Character, name: str, lora: Path | None) -> list[Image.Image]:
        """The eight prompts with this name for the subject."""
        loras = () if lora is None else (LoraFile(lora, 1.0),)
        generator = FluxGenerator(self.model, loras, self.cache)
        jobs = [
            GenerateJob(str(i), caption(character, view, name=name), 700 + i, SAMPLER)
            for i, view in enumerate(PROMPT_VIEWS)
        ]
        return [made.image for made in generator.generate(jobs)]

    def facts_shown(self, images: list[Image.Image]) -> float:
        """Share of the asked-for view facts that the reader sees."""
        readings = self.reader.read(images)
        right = [
            readings[i].get(fact) == getattr(view, fact) for i, view in enumerate(PROMPT_VIEWS) for fact in VIEW_FACTS
        ]
        return float(np.mean(right))


def learn(world: World, number: int, recipe: TrainingRecipe) -> tuple[Row, list[Image.Image]]:
    """Train on one held-out character and measure; the row and a few pictures for a sheet."""
    character = make_character(HELD_OUT_FROM + 77_000 + number)
    views = source_views(number)
    images = [render(character, view) for view in views]
    captions = [caption(character, view, name=f"{TRIGGER} person") for view in views]
    folder = Path(tempfile.mkdtemp(dir=world.folder))
    job = TrainJob(
        run=str(number),
        name=f"character{number}",
        pictures=tuple(
            TrainPicture(digest_bytes(image.tobytes()), text, image.copy)
            for image, text in zip(images, captions, strict=True)
        ),
        trigger=TRIGGER,
        class_word="person",
        recipe=recipe,
        seed=number,
        sampler=SAMPLER,
        sample_prompts=(),
        folder=folder,
    )
    began = time.monotonic()
    hooks = TrainHooks(lambda: False, lambda step, loss: None, lambda text: None, lambda text: None)
    trained = train_lora(world.model, job, hooks, world.cache)
    seconds = time.monotonic() - began
    lora = folder / "lora.safetensors"
    lora.write_bytes(trained.lora)

    reference = world.embedder.embed(images).mean(0)
    reference /= np.linalg.norm(reference)
    before, after = (world.draw(character, f"{TRIGGER} person", path) for path in (None, lora))
    class_before, class_after = (world.draw(character, "a person", path) for path in (None, lora))

    def identity(pictures: list[Image.Image]) -> np.ndarray:  # type: ignore[type-arg]
        return world.embedder.embed(pictures) @ reference

    vectors = [world.embedder.embed(pictures) for pictures in (class_before, class_after)]
    own = [render(character, replace(view, seed=999 + i)) for i, view in enumerate(PROMPT_VIEWS)]
    row: Row = {
        "case": f"character{number}",
        "train_seconds": seconds,
        "identity_before": float(identity(before).mean()),
        "identity": float(identity(after).mean()),
        "identity_lowest": float(identity(after).min()),
        "identity_of_renders": float(identity(own).mean()),
        "class_identity_before": float(identity(class_before).mean()),
        "class_identity": float(identity(class_after).mean()),
        "class_kept": float((vectors[0] * vectors[1]).sum(1).mean()),
        "view_facts_before": world.facts_shown(before),
        "view_facts": world.facts_shown(after),
        "last_loss": trained.losses[-1].loss,
    }
    return row, [*own, *after, *class_before, *class_after]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--characters", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--recipe", default="{}", help="changes to the recipe, JSON")
    parser.add_argument("--name", default="nano_learning", help="name of the result file")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    recipe = nano_recipe(json.loads(arguments.recipe))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for number in range(arguments.first, arguments.first + arguments.characters):
            row, pictures = learn(world, number, recipe)
            rows.append(row)
            print(json.dumps(row), flush=True)
            sheet = Image.new("RGB", (8 * 130, 4 * 130))
            for index, picture in enumerate(pictures):
                sheet.paste(picture, ((index % 8) * 130, (index // 8) * 130))
            arguments.out.mkdir(parents=True, exist_ok=True)
            if arguments.name != "nano_learning":
                sheet.save(arguments.out / f"{arguments.name}_{number}.png")
            figures = [key for key in rows[0] if key != "case"]
            mean: Row = {"case": "mean", **{k: float(np.mean([float(r[k] or 0) for r in rows])) for k in figures}}
            write_result(arguments.name, [*rows, mean], folder=arguments.out)


if __name__ == "__main__":
    main()
