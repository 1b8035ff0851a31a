"""What benchmarks of styles share: painters of the nano world, LoRAs of them, and the scenes that every way of drawing is held against.

Content is what the reader sees of what a prompt asks for (place, pose, angle). It reads photos, and what strokes hide from it is no fault
of a LoRA: the *control* tells how much that is. It is the base's own pictures with the painter's true hand laid over them, more or less
opaque. Nothing of their content is gone, so that what the reader then misses is missed because of the style.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import TrainHooks, TrainJob, TrainPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.evaluation.memorised import nearest_paintings
from flenwheel_core.evaluation.style_distance import Style
from flenwheel_core.images.quality import measure
from flenwheel_core.images.style_features import StyleFeatures, features_of
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.flux1.generator import FluxGenerator
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.trainer import train_lora
from flenwheel_core.models.protocols import GenerateJob, ModelSetup
from flenwheel_core.nano.measure import NanoReader
from flenwheel_core.nano.paintings import content, painting, scene
from flenwheel_core.nano.world.brush import make_painter, paint
from flenwheel_core.nano.world.characters import HELD_OUT_FROM
from flenwheel_core.nano.world.render import render
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.runner.launch import SPINS

SAMPLER = Sampler(steps=20, guidance=3.5, true_cfg=1.0, width=128, height=128)
TRAINED, REFERENCE = 32, 48
FIRST_REFERENCE, FIRST_DRAWN = 2_000, 4_000
TRIGGER, CLASS_WORD = "ohwx_style", "style"
NAMED = ("watercolor style", "sketch style", "flat style", "impressionist painting style")
"""What a user would name without a LoRA: every drawn style that the base knows, and the one it was never shown."""
OPACITIES = (0.15, 0.3, 0.45, 0.6, 0.8, 1.0)
READ = ("background", "pose", "angle")
BASE = "base"
CARD_GIB = 12.0
"""Of a card, for each process: several share one."""
Changes = Mapping[str, object]
Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """Pictures of one way of drawing, measured."""

    features: list[StyleFeatures]
    content: Shares
    """(scenes,) the share of what was asked for that the reader sees."""
    copied: int
    """Pictures that copy a training painting."""


@dataclass(frozen=True)
class Learned:
    """A LoRA of a painter, drawn at several strengths."""

    painter: int
    method: str
    file_bytes: int
    tried: Mapping[float, Seen]


class World:
    """The nano models of this process."""

    def __init__(self, folder: Path, device: str = "cpu", drawn: int = 32) -> None:
        """Draws on the first visible card unless `device` is cpu."""
        self.folder, self.drawn = folder, drawn
        card = device != "cpu"
        self.model = FluxModel(
            weights_folder("flux"),
            "nano",
            torch.device("cuda", 0) if card else torch.device("cpu"),
            torch.bfloat16 if card else torch.float32,
            CARD_GIB if card else None,
        )
        self.reader = NanoReader()
        self.cache = TensorCache(folder / "cache")

    def draw(self, end: str, lora: Path | None = None, strength: float = 1.0) -> list[Image.Image]:
        """The held-out scenes as the base draws them, with `end` behind their captions."""
        loras = () if lora is None else (LoraFile(lora, strength),)
        generator = FluxGenerator(self.model, self.cache, ModelSetup(loras=loras))
        jobs = [
            GenerateJob(str(index), f"{content(FIRST_DRAWN + index)}{end}", 900 + index, SAMPLER)
            for index in range(self.drawn)
        ]
        return [made.image for made in generator.generate(jobs)]

    def seen(self, images: Sequence[Image.Image], trained: Sequence[Image.Image] = ()) -> Seen:
        """Pictures of the held-out scenes, measured; those of `trained` are looked for in them."""
        read = self.reader.read(images)
        asked = [scene(FIRST_DRAWN + index)[1] for index in range(len(images))]
        right = [[found[fact] == getattr(view, fact) for fact in READ] for found, view in zip(read, asked, strict=True)]
        looks, known = ([measure(image) for image in some] for some in (images, trained))
        copied = sum(one.copied for one in nearest_paintings(looks, known)) if known else 0
        return Seen(features_of(images), np.asarray(right, float).mean(1), copied)

    def train(self, name: str, paintings: Sequence[Image.Image], changes: Changes) -> Path:
        """The file of a LoRA on these paintings, by the recipe `nano_style` with these changes."""
        pictures = tuple(
            TrainPicture(digest_bytes(image.tobytes()), f"{content(index)}, {TRIGGER} {CLASS_WORD}", image.copy)
            for index, image in enumerate(paintings)
        )
        if self.model.device.type == "cuda":  # models this small are over before a compiler is done with them
            changes = {**changes, "weight_format": "bf16", "compile": False, "cuda_graphs": True}
        job = TrainJob(
            run=name,
            name=name,
            pictures=pictures,
            trigger=TRIGGER,
            class_word=CLASS_WORD,
            recipe=style_recipe(changes),
            seed=1,
            sampler=SAMPLER,
            sample_prompts=(),
            folder=self.folder / name,
        )
        (self.folder / name).mkdir(exist_ok=True)
        hooks = TrainHooks(lambda: False, lambda _step, _loss: None, lambda _note: None, lambda _part: None)
        path = self.folder / f"{name}.safetensors"
        path.write_bytes(train_lora(self.model, job, hooks, self.cache).lora)
        return path


def style_recipe(changes: Changes) -> TrainingRecipe:
    """The training of `nano_style`, without sample pictures, with some of it changed."""
    plain = load_recipe("nano_style").train.model_dump()
    plain["sampling"] |= {"every_steps": 0}
    for key, value in changes.items():
        plain[key] = {**plain[key], **value} if isinstance(value, dict) else value
    return TrainingRecipe.model_validate(plain)


def trained_paintings(painter: int) -> list[Image.Image]:
    return [painting(painter, seed) for seed in range(TRAINED)]


def style_of(painter: int) -> Style:
    """Paintings of the painter that no LoRA is trained on."""
    return Style(features_of([painting(painter, FIRST_REFERENCE + seed) for seed in range(REFERENCE)]))


def start_process(cards: Sequence[str], threads: int) -> None:
    """Gives a new process its card, in turn, and its threads."""
    if cards:
        number = multiprocessing.current_process()._identity[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = cards[number % len(cards)]
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))  # as in a stage's process
    torch.set_num_threads(threads)


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """Of this process; gone with it."""
    return tempfile.TemporaryDirectory(prefix="flenwheel-style-")


@cache
def _world(device: str, drawn: int) -> World:
    return World(Path(_folder().name), device, drawn)


def drawn_by_base(device: str, drawn: int, words: str) -> tuple[list[Image.Image], Seen]:
    """The scenes as the bare base draws them, with a style named behind them or not: the same for every painter."""
    world = _world(device, drawn)
    images = world.draw(f", {words}" if words else "")
    return images, world.seen(images)


def anchors(device: str, drawn: int, painter: int, base: Sequence[Image.Image]) -> dict[str, Seen]:
    """Photos, the painter's own other paintings, and the control: the base's pictures under his hand."""
    world, trained = _world(device, drawn), trained_paintings(painter)
    seeds = [FIRST_DRAWN + index for index in range(drawn)]
    hand = make_painter(HELD_OUT_FROM + painter)
    covered = [paint(image, hand, seed) for image, seed in zip(base, seeds, strict=True)]
    found = {
        "paintings": world.seen([painting(painter, seed) for seed in seeds], trained),
        "photos": world.seen([render(*scene(seed)) for seed in seeds]),
    }
    for opacity in OPACITIES:
        laid = [Image.blend(below, above, opacity) for below, above in zip(base, covered, strict=True)]
        found[f"control_{opacity:g}"] = world.seen(laid)
    return found


def learned(
    device: str, drawn: int, painter: int, method: str, changes: Changes, strengths: Sequence[float]
) -> Learned:
    """A LoRA of a painter, trained and drawn."""
    world, trained = _world(device, drawn), trained_paintings(painter)
    path = world.train(f"{method}-{painter}", trained, changes)
    words = f", {TRIGGER} {CLASS_WORD}"
    tried = {at: world.seen(world.draw(words, path, at), trained) for at in strengths}
    return Learned(painter, method, path.stat().st_size, tried)


def lost_points(seen: Seen, against: Seen) -> tuple[float, float, float]:
    """Points of content that are lost against other pictures of the same scenes and seeds, with the 95 % interval over scenes."""
    return interval(100 * (against.content - seen.content))


def interval(values: Shares) -> tuple[float, float, float]:
    """Mean, and its 95 % interval: scenes drawn again."""
    chance = np.random.default_rng(7)
    means = values[chance.integers(0, len(values), (2000, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


class Control:
    """What the reader misses of pictures whose content is all there, by how near they are to a painter."""

    def __init__(self, found: Mapping[str, Seen], base: Seen, distance: Callable[[Seen], float]) -> None:
        steps = [base, *(found[f"control_{opacity:g}"] for opacity in OPACITIES)]
        order = sorted(((distance(one), one.content) for one in steps), key=lambda pair: pair[0])
        self._distances = np.asarray([pair[0] for pair in order])
        self._contents = np.stack([pair[1] for pair in order])

    def content(self, distance: float) -> Shares:
        """(scenes,) the content that is read at this distance, between the nearest two opacities."""
        return np.asarray([np.interp(distance, self._distances, one) for one in self._contents.T])
