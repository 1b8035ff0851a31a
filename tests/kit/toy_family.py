"""A family outside of the package, to prove how little one takes: it draws, edits, and trains both LoRAs, on 8 x 8 pictures."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.transformers.transformer_flux import FluxSingleTransformerBlock
from PIL import Image
from torch import Tensor, nn

from flenwheel_core.adapters.lora_file import lora_bytes
from flenwheel_core.adapters.lora_reading import LoraHost, read_loras
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, adapter_scales
from flenwheel_core.adapters.stacked import fill_stacked, summed_ranks
from flenwheel_core.adapters.targets import TargetNames, lora_ranks
from flenwheel_core.engine.edit_job import EditTrained, EditTrainJob
from flenwheel_core.engine.flow_matching import flow_loss, noisy_input, sigma_of_uniform, velocity_target
from flenwheel_core.engine.job import Trained, TrainHooks, TrainJob
from flenwheel_core.engine.order import Order
from flenwheel_core.engine.randomness import normal, uniform
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.models.family import Family
from flenwheel_core.models.protocols import EditJob, GenerateJob, Made, ModelSetup
from flenwheel_core.models.registry import register
from flenwheel_core.transformer.adapted import start_matrices, with_lora
from flenwheel_core.transformer.blocks import SingleWeights, single_block
from flenwheel_core.transformer.fast import BlockLayout, FastTransformer
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan
from flenwheel_core.transformer.shell import linear_shapes, outer_parts, transformer_config
from flenwheel_core.transformer.sources import FolderSource

HERE, SIDE, WIDTH, HEADS = "tests.kit.toy_family", 8, 32, 2
DRAWS, TRAINS = f"{HERE}:open_toy", f"{HERE}:open_trainer"
OPENED = {"generator": DRAWS, "editor": DRAWS, "trainer": TRAINS, "edit_trainer": TRAINS}
IDLE = {"mask_floor": "pictures are learned whole; leave it out"}
FAMILY = register(
    Family("Toy", ("ToyPipeline",), card_tag="toy", architectures=("toy/lora",), idle_keys=IDLE, **OPENED)
)  # type: ignore[arg-type]
TARGETS = TargetNames({"attention": ("blocks.*.attn.*",), "mlp": ("blocks.*.proj_*",)}, {"block": "blocks"})
MEMBERS = {"qkv_mlp": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"), "out": ("proj_out",)}


class ToyTransformer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    @register_to_config
    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        self.x_in, self.text_in, self.proj_out = nn.Linear(6, WIDTH), nn.Linear(9, WIDTH), nn.Linear(WIDTH, 3)
        self.blocks = nn.ModuleList(FluxSingleTransformerBlock(WIDTH, HEADS, WIDTH // HEADS) for _ in range(layers))


class FastToy(FastTransformer):
    def __init__(self, folder: Path, adapters: AdapterPlan) -> None:
        config, device = transformer_config(folder), torch.device("cpu")
        source = FolderSource(folder / "transformer", device, torch.float32)
        norms = ("attn.norm_q", "attn.norm_k")
        layout = BlockLayout("blocks", config["layers"], SingleWeights, MEMBERS, norms, ("norm.linear",))
        rest = outer_parts(ToyTransformer, {**config, "layers": 0}, source)
        plan = FastPlan(compile=False, cudnn=False)
        super().__init__(rest, HEADS, (layout,), {"block": single_block}, source, plan, adapters)

    def forward(self, noisy: Tensor, reference: Tensor, sigma: Tensor, text: Tensor) -> Any:
        x = self.rest.x_in(torch.cat([noisy, reference], -1))
        silu = nn.functional.silu(self.rest.text_in(torch.cat([text, sigma[:, None]], -1)))
        rope = torch.ones(x.shape[1], WIDTH // HEADS), torch.zeros(x.shape[1], WIDTH // HEADS)
        for block in self.blocks[0]:
            arguments = (x, *self.modulated(silu, block), rope, self.chosen(block), self.options)
            x = self.call(self.run["block"], arguments, recompute=False)
        return self.rest.proj_out(x)


def item(image: Image.Image, reference: Image.Image, text: str) -> tuple[Tensor, Tensor, Tensor]:
    small = [np.asarray(one.convert("RGB").resize((SIDE, SIDE)), dtype=np.float32) for one in (image, reference)]
    clean, other = (torch.from_numpy(pixels.reshape(-1, 3) / 127.5 - 1) for pixels in small)
    return clean, other, torch.tensor([byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]])


@dataclass
class ToyTask:
    adapted: AdaptedTransformer
    items: Sequence[tuple[Tensor, Tensor, Tensor]]
    job: TrainJob | EditTrainJob

    def parameters(self) -> Mapping[str, nn.Parameter]:
        return self.adapted.parameters

    def sample(self, step: int) -> None: ...

    def loss(self, index: int) -> Tensor:
        seed, recipe, count = self.job.seed, self.job.recipe, len(self.items)
        chosen = Order(("all",) * count, (1.0,) * count, recipe.batch_size, seed).batch(index)
        clean, reference, text = (torch.stack(part) for part in zip(*(self.items[n] for n in chosen), strict=True))
        noise = torch.stack([normal(tuple(clean.shape[1:]), seed, "noise", index, n) for n in range(len(clean))])
        numbers = torch.tensor([uniform(seed, "sigma", index, n) for n in range(len(clean))])
        sigma = sigma_of_uniform(numbers, recipe.sigma, shift=1.0)
        velocity = self.adapted.transformer(noisy_input(clean, noise, sigma), reference, sigma, text)
        return flow_loss(velocity, velocity_target(clean, noise)).mean()


def open_trainer(folder: Path, reference: str, settings: Any) -> Any:
    def run(job: Any, hooks: TrainHooks) -> Trained | EditTrained:
        if isinstance(job, TrainJob):
            items = [item(p.load(), Image.new("RGB", (SIDE, SIDE)), p.caption) for p in job.pictures]
        else:
            items = [item(lesson.load_target(), lesson.load_source(), lesson.prompt) for lesson in job.lessons]
        ranks = lora_ranks(linear_shapes(ToyTransformer, transformer_config(folder)), job.recipe.lora, TARGETS)
        scales = adapter_scales(ranks, job.recipe.lora)
        adapted = start_matrices(with_lora(FastToy(folder, AdapterPlan(ranks, scales)), ranks, scales), seed=job.seed)
        outcome = run_job(ToyTask(adapted, items, job), job, hooks)
        lora = lora_bytes(outcome.weights, adapted, {"modelspec.architecture": "toy/lora"})
        return Trained(lora, outcome.losses, ()) if isinstance(job, TrainJob) else EditTrained(lora, outcome.losses)

    return run


@dataclass
class Toy:
    transformer: FastToy
    model: str
    phases: tuple[Any, ...] = ()

    @torch.no_grad()
    def generate(self, jobs: Sequence[GenerateJob | EditJob]) -> Iterator[Made]:
        for job in jobs:
            reference = job.images[0] if isinstance(job, EditJob) else Image.new("RGB", (SIDE, SIDE))
            _, other, text = item(reference, reference, job.prompt)
            x, steps = normal((1, SIDE**2, 3), job.seed, "start", 0, 0), job.sampler.steps
            for step in range(steps):
                x = x - self.transformer(x, other[None], torch.tensor([1 - step / steps]), text[None]) / steps
            pixels = ((x[0].reshape(SIDE, SIDE, 3).clamp(-1, 1) + 1) * 127.5).byte().numpy()
            yield Made(job.key, Image.fromarray(pixels).resize((job.sampler.width, job.sampler.height)))

    edit = generate


@contextmanager
def open_toy(folder: Path, reference: str, settings: Any, setup: ModelSetup) -> Iterator[Toy]:
    worn = read_loras(setup.loras, LoraHost("Toy", linear_shapes(ToyTransformer, transformer_config(folder)), {}))
    fast = FastToy(folder, AdapterPlan(summed_ranks(worn), dict.fromkeys(summed_ranks(worn), 1.0)))
    fill_stacked(fast.lora, worn)
    yield Toy(fast, reference)
