"""Searches LoRA recipes for the nano world on a GPU: many runs at once, on held-out characters.

    python -m benchmarks.lab.nano_models_search --device cuda --seconds 480 --part 0 --parts 3 --plan broad --out DIR

One line of JSON a (recipe, character): identity with the trigger and with the class word, angle and expression followed. The aims:
identity >= 0.90, class word <= 0.35, angle >= 0.85, expression >= 0.75. What wins here is checked by `benchmarks.quality.nano_learning`.
"""

import argparse
import importlib
import json
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch import Tensor
from transformers import Dinov2ForImageClassification

from benchmarks.lab.nano_models_many import Bank, Many, Run, train
from benchmarks.quality.nano_cells import CELLS
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS
from flenwheel_core.kernels.attention import learn_through_other_modules
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.models.flux import TEXT_TOKENS, pack, unpack
from flenwheel_core.nano.world import (
    BACKGROUNDS,
    HELD_OUT_FROM,
    LIGHTINGS,
    View,
    caption,
    make_character,
    render,
    source_views,
)
from flenwheel_core.recipes.train import LoraRecipe
from tools.nano_training.autoencoder import to_model

FIRST = HELD_OUT_FROM + 600_000
SOURCES = 12
SAMPLER_STEPS, DRAWING_GUIDANCE = 20, 3.5
CLASS_WORD = "person"
CPU_SECONDS_FORWARD_BACKWARD, CPU_SECONDS_FORWARD = 0.05, 0.016
"""Of one item on two cores, for the estimate."""


@dataclass(frozen=True)
class Group:
    """Runs that are trained as one batch: the recipes times the characters."""

    name: str
    lora: LoraRecipe
    steps: int
    batch: int
    recipes: tuple[Run, ...]
    trigger: str = "ohwx_char"
    scale: float = 1.0


def wide_captions(count: int) -> list[str]:
    """Captions of the class word over the whole grammar, with framing and poses of their own."""
    person = make_character(0)
    views = []
    for index in range(count):
        pose = ("portrait", "portrait", "portrait", "standing", "sitting", "t-pose")[index % 6]
        view = View(ANGLES[index % 5], EXPRESSIONS[(index // 2) % 4], pose, BACKGROUNDS[(3 * index) % 7])
        views.append(replace(view, lighting=LIGHTINGS[(index // 3) % 4]))
    return [caption(person, view, describe=False) for view in views]


class Studio:
    """The nano models on one device."""

    def __init__(self, device: str, flux: Path | None = None, drawn: int = 64) -> None:
        self.drawn = drawn
        """Class pictures of a character, and as many for captions that are not its own."""
        self.device = torch.device(device)
        folder = flux or weights_folder("flux")
        self.text = FluxPipeline.from_pretrained(folder, transformer=None, vae=None, torch_dtype=torch.float32)
        self.text.to(self.device)
        self.vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).to(self.device).eval()
        self.transformer = FluxTransformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
        self.transformer.to(self.device).eval().requires_grad_(False)
        self.vae.requires_grad_(False)
        self.eyes = {
            name: Dinov2ForImageClassification.from_pretrained(weights_folder(name)).float().to(self.device).eval()
            for name in ("embedder", "reader")
        }
        scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
        sigmas = np.linspace(1.0, 1 / SAMPLER_STEPS, SAMPLER_STEPS)
        scheduler.set_timesteps(sigmas=sigmas.tolist(), device=self.device, mu=0.5 + 0.65 / 3840 * (64 - 256))
        self.sigmas = scheduler.sigmas.float().tolist()

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Sequences (texts, tokens, width) and pooled (texts, width)."""
        parts = [
            self.text.encode_prompt(
                list(texts[i : i + 64]), prompt_2=None, device=self.device, max_sequence_length=TEXT_TOKENS
            )[:2]
            for i in range(0, len(texts), 64)
        ]
        return torch.cat([p[0] for p in parts]).float(), torch.cat([p[1] for p in parts]).float()

    @torch.no_grad()
    def latents_of(self, pixels: Tensor) -> Tensor:
        """Pixels (pictures, 3, 128, 128) in [-1, 1] to packed latents."""
        config = self.vae.config
        parts = [self.vae.encode(part).latent_dist.mode() for part in pixels.split(256)]
        return pack((torch.cat(parts) - (config.shift_factor or 0.0)) * config.scaling_factor)

    @torch.no_grad()
    def draw(
        self, many: Many | None, sequence: Tensor, pooled: Tensor, seeds: Sequence[int], guidance: float
    ) -> Tensor:
        """Packed latents of pictures, in the order of the texts."""
        x = torch.stack([torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(s))[0] for s in seeds])
        x = pack(x).to(self.device)
        values = torch.full((len(x),), guidance, device=self.device)
        velocity = many.velocity if many is not None else Many.velocity.__get__(_Plain(self.transformer))
        for now, after in zip(self.sigmas[:-1], self.sigmas[1:], strict=True):
            sigma = torch.full((len(x),), now, device=self.device)
            x = x + (after - now) * velocity(x, sigma, values, sequence, pooled)
        return x

    @torch.no_grad()
    def pixels_of(self, latents: Tensor) -> Tensor:
        """Rounded as in a PNG file."""
        config = self.vae.config
        found = []
        for part in latents.split(256):
            image = self.vae.decode(unpack(part, 16, 16) / config.scaling_factor + (config.shift_factor or 0.0)).sample
            found.append(((image.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1)
        return torch.cat(found)

    @torch.no_grad()
    def look(self, name: str, pixels: Tensor) -> Tensor:
        """Logits of the embedder or the reader."""
        return torch.cat([self.eyes[name](pixel_values=part).logits for part in pixels.split(512)])

    def embed(self, pixels: Tensor) -> Tensor:
        """Unit vectors."""
        return torch.nn.functional.normalize(self.look("embedder", pixels), dim=1)

    def read(self, pixels: Tensor, label: str) -> list[str]:
        """The value of one label."""
        names = self.eyes["reader"].config.id2label
        columns = [(int(i), n.partition("=")[2]) for i, n in names.items() if n.partition("=")[0] == label]
        best = self.look("reader", pixels)[:, [i for i, _ in columns]].argmax(1).tolist()
        return [columns[b][1] for b in best]


class _Plain:
    def __init__(self, transformer: FluxTransformer2DModel) -> None:
        self.transformer = transformer


@dataclass
class Subject:
    """A held-out character, ready to be learned and judged."""

    bank: Bank
    centre: Tensor
    named: tuple[Tensor, Tensor]
    unnamed: tuple[Tensor, Tensor]
    before: float
    class_before: float


def rendered(number: int, views: Sequence[View], device: torch.device) -> Tensor:
    images = [np.array(render(make_character(FIRST + number), view)) for view in views]
    return to_model(torch.from_numpy(np.stack(images)).to(device))


def subject(studio: Studio, number: int, trigger: str, wide: tuple[Tensor, Tensor, Tensor]) -> Subject:
    """The character's 12 pictures, class pictures and prompts."""
    character = make_character(FIRST + number)
    views = source_views(FIRST + number, SOURCES)
    pictures = rendered(number, views, studio.device)
    named = [caption(character, view, name=f"{trigger} {CLASS_WORD}") for view in views]
    classed = [caption(character, view, describe=False) for view in views]
    own = studio.encode([*named, *classed])
    empty = studio.encode([""])
    of_class = [part[SOURCES:][torch.arange(studio.drawn) % SOURCES] for part in own]
    drawn = studio.draw(
        None, *of_class, range(10_000 + number * 100, 10_000 + number * 100 + studio.drawn), DRAWING_GUIDANCE
    )
    drawn = studio.latents_of(studio.pixels_of(drawn))
    bank = Bank(
        torch.cat([studio.latents_of(pictures), drawn, wide[2]]),
        torch.cat([own[0], wide[0], empty[0]]),
        torch.cat([own[1], wide[1], empty[1]]),
        SOURCES,
        studio.drawn,
        studio.drawn,
    )
    portraits = [i for i, view in enumerate(views) if view.pose == "portrait"]
    centre = torch.nn.functional.normalize(studio.embed(pictures[portraits]).mean(0), dim=0)
    cells = studio.encode([caption(character, view, name=f"{trigger} {CLASS_WORD}") for view in CELLS])
    plain = studio.encode([caption(character, view, describe=False) for view in CELLS])
    before = [
        float((studio.embed(studio.pixels_of(studio.draw(None, *texts, range(20), DRAWING_GUIDANCE))) @ centre).mean())
        for texts in (cells, plain)
    ]
    return Subject(bank, centre, cells, plain, *before)


def run_group(studio: Studio, group: Group, subjects: Sequence[Subject]) -> Iterator[dict[str, object]]:
    """Trains and judges all runs of a group."""
    runs = [replace(recipe, character=c) for recipe in group.recipes for c in range(len(subjects))]
    many = Many(studio.transformer, group.lora, len(runs))
    begun = time.monotonic()
    try:
        losses = train(many, runs, {i: s.bank for i, s in enumerate(subjects)}, group.steps, group.batch)
        many.place()
        if group.scale != 1:
            for layer in many.layers:
                layer.b = layer.b * group.scale
        trained = time.monotonic() - begun
        shown = {}
        for kind in ("named", "unnamed"):
            texts = [torch.cat([getattr(subjects[run.character], kind)[k] for run in runs]) for k in (0, 1)]
            drawn = studio.draw(many, *texts, list(range(len(CELLS))) * len(runs), DRAWING_GUIDANCE)
            shown[kind] = studio.pixels_of(drawn)
    finally:
        many.remove()
    per = len(CELLS)
    vectors = {kind: studio.embed(pixels).view(len(runs), per, -1) for kind, pixels in shown.items()}
    seen = {label: studio.read(shown["named"], label) for label in ("angle", "expression", "background")}
    wanted = {label: [getattr(view, label) for view in CELLS] for label in seen}
    for index, run in enumerate(runs):
        person = subjects[run.character]
        identity, classed = (vectors[kind][index] @ person.centre for kind in ("named", "unnamed"))
        spread = vectors["unnamed"][index]
        share = run.share
        cpu = group.steps * group.batch * (CPU_SECONDS_FORWARD_BACKWARD + share * CPU_SECONDS_FORWARD)
        yield {
            "group": group.name,
            "rank": group.lora.rank,
            "steps": group.steps,
            "batch": group.batch,
            "trigger": group.trigger,
            **asdict(run),
            "identity": float(identity.mean()),
            "lowest": float(identity.min()),
            "passed": float((identity >= 0.75).float().mean()),
            "class": float(classed.mean()),
            "class_highest": float(classed.max()),
            "class_alike": float((spread @ spread.T).mean()),
            "before": person.before,
            "class_before": person.class_before,
            **{
                label: float(np.mean([a == b for a, b in zip(wanted[label], got[index * per : (index + 1) * per])]))  # noqa: B905
                for label, got in seen.items()
            },
            "loss": float(losses[-1][index]),
            "cpu_seconds": round(cpu + run.drawn * 0.35, 1),
            "gpu_seconds": round(trained, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--part", type=int, default=0)
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--characters", type=int, default=4)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument(
        "--plan", default="benchmarks.lab.nano_models_plan:broad", help="MODULE:FUNCTION that gives groups"
    )
    parser.add_argument("--flux", type=Path, help="another FLUX folder than the shipped one")
    parser.add_argument("--drawn", type=int, default=64, help="class pictures of a character")
    parser.add_argument("--limit-steps", type=int, help="for a trial")
    parser.add_argument("--limit-recipes", type=int, help="for a trial")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    started = time.monotonic()
    if given.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        learn_through_other_modules()
    module, _, function = given.plan.partition(":")
    groups: list[Group] = getattr(importlib.import_module(module), function)()
    studio = Studio(given.device, given.flux, given.drawn)
    texts = studio.encode(wide_captions(given.drawn))
    drawn = studio.draw(None, *texts, range(5000, 5000 + given.drawn), DRAWING_GUIDANCE)
    wide = (*texts, studio.latents_of(studio.pixels_of(drawn)))
    known: dict[str, list[Subject]] = {}
    given.out.mkdir(parents=True, exist_ok=True)
    with (given.out / f"search{given.part}.jsonl").open("a") as file:
        longest = 0.0
        for group in groups[given.part :: given.parts]:
            if time.monotonic() - started + 1.15 * longest > given.seconds:
                print(f"no time for {group.name}", flush=True)
                continue
            begun = time.monotonic()
            if group.trigger not in known:
                numbers = range(given.first, given.first + given.characters)
                known[group.trigger] = [subject(studio, n, group.trigger, wide) for n in numbers]
                print(f"subjects after {time.monotonic() - started:.0f} s", flush=True)
            if given.limit_steps:
                group = replace(group, steps=given.limit_steps, recipes=group.recipes[: given.limit_recipes])
            try:
                for row in run_group(studio, group, known[group.trigger]):
                    file.write(json.dumps(row) + "\n")
                file.flush()
            except Exception:  # one group must not stop the next
                traceback.print_exc()
                with suppress(Exception):
                    torch.cuda.empty_cache()
            longest = max(longest, time.monotonic() - begun)
            print(f"{group.name}: {time.monotonic() - begun:.0f} s, at {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
