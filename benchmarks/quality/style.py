"""How near a style LoRA comes to a painter whom no base has seen, and what it costs of what a prompt asks for.

Painters of the nano world. A LoRA is trained on paintings of one; pictures of held-out scenes are measured against his other
paintings, beside anchors: photos, the bare base, the base with a style named in its prompt, and true paintings. Content is what the
reader sees of what the prompt asks for (place, pose, angle). `share` is a distance over that of the bare base; `gain_low` is the lower
end of the 95 % interval of what is gained on the named style. Needs no card.

    python -m benchmarks.quality.style --painters 2
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.quality.nano_learning import SAMPLER, nano_recipe
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.engine.job import TrainHooks, TrainJob, TrainPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.evaluation.memorised import nearest_paintings
from flenwheel_core.evaluation.style_distance import Style, knee
from flenwheel_core.images.quality import measure
from flenwheel_core.images.style_features import StyleFeatures, features_of
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.flux1.generator import FluxGenerator
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.trainer import train_lora
from flenwheel_core.models.protocols import GenerateJob, ModelSetup
from flenwheel_core.nano.measure import NanoReader
from flenwheel_core.nano.paintings import content, painting, scene
from flenwheel_core.nano.world.render import render
from flenwheel_core.runner.launch import SPINS

NAME = "style"
FIRST_PAINTER = 500
TRAINED, REFERENCE, DRAWN = 32, 48, 32
FIRST_REFERENCE, FIRST_DRAWN = 2_000, 4_000
TRIGGER = "ohwx_style style"
NAMED = ("watercolor style", "sketch style", "flat style", "impressionist painting style")
"""What a user would name without a LoRA: every drawn style that the base knows, and the one it was never shown."""
STRENGTHS = (0.4, 0.7, 1.0, 1.2)
METHODS: Mapping[str, Mapping[str, object]] = {
    "lora_all": {"rank": 16},
    "lora_single_late": {"rank": 8, "blocks": ["single_late"], "file_format": "bf16"},
}
READ = ("background", "pose", "angle")


@dataclass(frozen=True)
class Measured:
    """Pictures of a method, measured."""

    features: list[StyleFeatures]
    content: float
    """Share of what was asked for that the reader sees."""
    copied: int
    """Pictures that copy a training painting."""


class World:
    """The nano models, loaded once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = FluxModel(weights_folder("flux"), "nano", torch.device("cpu"), torch.float32)
        self.reader = NanoReader()
        self.cache = TensorCache(folder / "cache")

    def draw(self, end: str, lora: Path | None = None, strength: float = 1.0) -> list[Image.Image]:
        """The held-out scenes as the base draws them, with `end` behind their captions."""
        loras = () if lora is None else (LoraFile(lora, strength),)
        generator = FluxGenerator(self.model, self.cache, ModelSetup(loras=loras))
        texts = [f"{content(FIRST_DRAWN + index)}{end}" for index in range(DRAWN)]
        return [
            made.image
            for made in generator.generate(
                [GenerateJob(str(i), text, 900 + i, SAMPLER) for i, text in enumerate(texts)]
            )
        ]

    def measured(self, images: Sequence[Image.Image], trained: Sequence[Image.Image]) -> Measured:
        read = self.reader.read(images)
        asked = [scene(FIRST_DRAWN + index)[1] for index in range(DRAWN)]
        seen = [found[fact] == getattr(view, fact) for found, view in zip(read, asked, strict=True) for fact in READ]
        near = nearest_paintings([measure(image) for image in images], [measure(image) for image in trained])
        return Measured(features_of(images), float(np.mean(seen)), sum(one.copied for one in near))


def train(world: World, name: str, paintings: Sequence[Image.Image], lora: Mapping[str, object], steps: int) -> Path:
    """The file of a LoRA on these paintings."""
    pictures = tuple(
        TrainPicture(digest_bytes(image.tobytes()), f"{content(index)}, {TRIGGER}", image.copy)
        for index, image in enumerate(paintings)
    )
    recipe = nano_recipe({"steps": steps, "min_epochs": None, "lora": dict(lora)})
    job = TrainJob(
        run=name,
        name=name,
        pictures=pictures,
        trigger=TRIGGER.split()[0],
        class_word=None,
        recipe=recipe,
        seed=1,
        sampler=SAMPLER,
        sample_prompts=(),
        folder=world.folder / name,
    )
    (world.folder / name).mkdir()
    hooks = TrainHooks(lambda: False, lambda _step, _loss: None, lambda _note: None, lambda _part: None)
    path = world.folder / f"{name}.safetensors"
    path.write_bytes(train_lora(world.model, job, hooks, world.cache).lora)
    return path


def painter_rows(world: World, number: int, steps: int) -> list[Row]:
    """All methods for one painter; anchors first."""
    painter = FIRST_PAINTER + number
    paintings = [painting(painter, seed) for seed in range(TRAINED)]
    style = Style(features_of([painting(painter, FIRST_REFERENCE + seed) for seed in range(REFERENCE)]))
    drawn = [FIRST_DRAWN + index for index in range(DRAWN)]
    anchors = {
        "paintings": [painting(painter, seed) for seed in drawn],
        "photos": [render(*scene(seed)) for seed in drawn],
        "base": world.draw(""),
        **{f"named_{words.split()[0]}": world.draw(f", {words}") for words in NAMED},
    }
    found = {name: world.measured(images, paintings) for name, images in anchors.items()}
    named = min(
        (name for name in found if name.startswith("named")),
        key=lambda name: style.distance(found[name].features).total,
    )
    sizes: dict[str, int] = {}
    strengths: dict[str, float] = {}
    for name, lora in METHODS.items():
        path = train(world, f"{name}_{number}", paintings, lora, steps)
        sizes[name] = path.stat().st_size
        tried = {at: world.measured(world.draw(f", {TRIGGER}", path, at), paintings) for at in STRENGTHS}
        near = [style.distance(one.features).total for one in tried.values()]
        strengths[name] = knee(STRENGTHS, near, [one.content for one in tried.values()])
        found[name] = tried[strengths[name]]
        found |= {f"{name}_at_{at:g}": one for at, one in tried.items() if at != strengths[name]}
    base = style.distance(found["base"].features).total
    rows: list[Row] = []
    for name, one in found.items():
        distance, gain = style.distance(one.features), style.gain(one.features, found[named].features)
        rows.append(
            {
                "case": f"painter{number}_{name}",
                "distance": distance.total,
                "distance_low": distance.low,
                "distance_high": distance.high,
                "share": distance.total / base,
                "gain": gain[0],
                "gain_low": gain[1],
                "content": one.content,
                "content_lost_points": 100 * (found["base"].content - one.content),
                "copied": one.copied,
                "is_named": name == named,
                **({"file_bytes": sizes[name], "strength": strengths[name]} if name in sizes else {}),
            }
        )
    return rows


def with_means(rows: Sequence[Row]) -> list[Row]:
    """The rows of painters, and one a method with their means; intervals are those of painters, so these have none."""
    methods = dict.fromkeys(str(row["case"]).partition("_")[2] for row in rows)
    figures = ("distance", "share", "gain", "content", "content_lost_points", "copied", "file_bytes", "strength")
    means: list[Row] = []
    for method in methods:
        own = [row for row in rows if str(row["case"]).partition("_")[2] == method]
        shown = {key: [float(row[key]) for row in own if row.get(key) is not None] for key in figures}  # type: ignore[arg-type]
        means.append(
            {"case": method, "painters": len(own), **{key: float(np.mean(v)) for key, v in shown.items() if v}}
        )
    return [*means, *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--painters", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))  # as in a stage's process
    torch.set_num_threads(arguments.threads)
    rows: list[Row] = []
    for number in range(arguments.painters):
        with tempfile.TemporaryDirectory() as folder:
            rows += painter_rows(World(Path(folder)), number, arguments.steps)
        print(json.dumps(rows[-1]), flush=True)
        write_result(NAME, with_means(rows), folder=arguments.out)


if __name__ == "__main__":
    main()
