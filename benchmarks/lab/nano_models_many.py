"""Many LoRAs on one frozen nano FLUX, trained side by side as one batch.

Each run has a character and a recipe of its own (noise levels, prior items, learning rate); runs of a group share targets, rank,
batch size and steps. The arithmetic is that of `flenwheel_core.models.flux1.task`; the random numbers are others.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from flenwheel_core.adapters.peft_adapter import linear_names
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.models.flux1.adapter import TARGETS
from flenwheel_core.nano.models.flux import TEXT_TOKENS, image_ids
from flenwheel_core.recipes.train import LoraRecipe

SIDE = 8
BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class Run:
    """One LoRA: what differs between runs of a group."""

    character: int
    lr: float = 1e-3
    share: float = 0.25
    """Share of prior items."""
    weight: float = 1.0
    """Weight of the prior loss."""
    own: float = 0.6
    """Share of prior items that are the character's own pictures under the class word."""
    wide: float = 0.0
    """Share of prior items drawn for captions other than the character's own."""
    drawn: int = 8
    """Pictures drawn for the class word."""
    paired: bool = False
    """Each prior item is an item of the same batch, with its noise and noise level, under the class word."""
    images: bool = False
    """Drawn prior pictures are the target, not what the base predicts."""
    guidance: float = 3.5
    dropout: float = 0.0
    shift: float = 0.0
    """Factor on noise levels; 0 is that of the pipeline."""
    logit_mean: float = 0.0
    clip: float = 1.0
    decay: float = 1e-4
    schedule: str = "cosine"


@dataclass
class Bank:
    """What a character's items are made of."""

    latents: Tensor
    """(own + drawn + wide, tokens, channels)"""
    sequence: Tensor
    """(captions, tokens, width): with the trigger, with the class word, wide ones, the empty one."""
    pooled: Tensor
    own: int
    drawn: int
    wide: int


class ManyLinear(nn.Module):
    """A frozen linear with one low-rank addition for each run; inputs are ordered run by run."""

    def __init__(self, base: nn.Linear, switch: "Switch") -> None:
        super().__init__()
        self.base, self.switch = base, switch
        self.a = self.b = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x)
        if not self.switch.on:
            return y
        runs = self.a.shape[0]
        added = torch.bmm(torch.bmm(x.reshape(runs, -1, x.shape[-1]), self.a.mT), self.b.mT)
        return y + added.view(y.shape)


class Switch:
    """Whether the LoRAs count."""

    on = True


class Many:
    """A transformer with many LoRAs."""

    def __init__(self, transformer: FluxTransformer2DModel, lora: LoraRecipe, runs: int, seed: int = 0) -> None:
        self.transformer, self.switch, self.runs = transformer, Switch(), runs
        device = next(transformer.parameters()).device
        self.layers: list[ManyLinear] = []
        shapes: list[tuple[int, int]] = []
        starts: list[Tensor] = []
        generator = torch.Generator().manual_seed(seed)
        for name, rank in sorted(lora_ranks(linear_names(transformer), lora, TARGETS).items()):
            parent, _, leaf = name.rpartition(".")
            owner = transformer.get_submodule(parent) if parent else transformer
            base = owner.get_submodule(leaf)
            assert isinstance(base, nn.Linear)
            layer = ManyLinear(base, self.switch)
            setattr(owner, leaf, layer) if not leaf.isdigit() else owner.__setitem__(int(leaf), layer)  # type: ignore[operator]
            self.layers.append(layer)
            shapes += [(rank, base.in_features), (base.out_features, rank)]
            bound = 1 / math.sqrt(base.in_features)
            starts.append((torch.rand(runs, rank * base.in_features, generator=generator) * 2 - 1) * bound)
            starts.append(torch.zeros(runs, base.out_features * rank))
        self.shapes = shapes
        self.flat = nn.Parameter(torch.cat(starts, 1).to(device))
        self.moments = torch.zeros_like(self.flat), torch.zeros_like(self.flat)

    def place(self) -> None:
        """Gives the layers the present matrices."""
        parts = self.flat.split([a * b for a, b in self.shapes], 1)
        for index, layer in enumerate(self.layers):
            layer.a = parts[2 * index].view(self.runs, *self.shapes[2 * index])
            layer.b = parts[2 * index + 1].view(self.runs, *self.shapes[2 * index + 1])

    def velocity(self, noisy: Tensor, sigma: Tensor, guidance: Tensor, sequence: Tensor, pooled: Tensor) -> Tensor:
        """The prediction, all tensors run by run."""
        found: Tensor = self.transformer(
            hidden_states=noisy,
            encoder_hidden_states=sequence,
            pooled_projections=pooled,
            timestep=sigma,
            guidance=guidance,
            img_ids=image_ids(SIDE, SIDE, noisy.device),
            txt_ids=torch.zeros(TEXT_TOKENS, 3, device=noisy.device),
            return_dict=False,
        )[0]
        return found

    @torch.no_grad()
    def update(self, step: int, rates: Tensor, clips: Tensor, decays: Tensor) -> None:
        """One AdamW step; rates, clips and decays are (runs, 1)."""
        gradient = self.flat.grad
        assert gradient is not None
        norm = gradient.norm(dim=1, keepdim=True)
        gradient.mul_((clips / (norm + 1e-6)).clamp(max=1.0))
        first, second = self.moments
        first.lerp_(gradient, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        denominator = (second / (1 - BETAS[1] ** (step + 1))).sqrt_().add_(1e-8)
        self.flat.mul_(1 - rates * decays)
        self.flat.sub_(rates / (1 - BETAS[0] ** (step + 1)) * first / denominator)
        self.flat.grad = None

    def remove(self) -> None:
        """Takes the LoRAs off the transformer."""
        for name, module in list(self.transformer.named_modules()):
            if isinstance(module, ManyLinear):
                parent, _, leaf = name.rpartition(".")
                owner = self.transformer.get_submodule(parent) if parent else self.transformer
                setattr(owner, leaf, module.base) if not leaf.isdigit() else owner.__setitem__(int(leaf), module.base)  # type: ignore[operator]


@dataclass
class Draws:
    """Which items every step of every run uses, (steps, runs, batch)."""

    latents: np.ndarray  # type: ignore[type-arg]
    captions: np.ndarray  # type: ignore[type-arg]
    prior: np.ndarray  # type: ignore[type-arg]
    image_target: np.ndarray  # type: ignore[type-arg]
    shared_noise: np.ndarray  # type: ignore[type-arg]
    """The place in the batch whose noise an item uses."""


def draws_of(runs: Sequence[Run], banks: Mapping[int, Bank], steps: int, batch: int, seed: int) -> Draws:
    """All choices of items, made before training."""
    shape = (steps, len(runs), batch)
    latents, captions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    prior, image_target = np.zeros(shape, bool), np.zeros(shape, bool)
    noise = np.broadcast_to(np.arange(batch), shape).copy()
    for r, run in enumerate(runs):
        chance = np.random.default_rng((seed, r))
        bank = banks[run.character]
        empty = bank.sequence.shape[0] - 1
        queue: list[int] = []
        for step in range(steps):
            count = math.floor((step + 1) * batch * run.share) - math.floor(step * batch * run.share)
            for place in range(batch):
                if len(queue) == 0:
                    queue = list(chance.permutation(bank.own))
                picture = int(queue.pop())
                latents[step, r, place], captions[step, r, place] = picture, picture
            for place in range(count):
                prior[step, r, place] = True
                if run.paired and batch - 1 - place >= count:
                    partner = batch - 1 - place
                    noise[step, r, place] = partner
                    latents[step, r, place] = latents[step, r, partner]
                    captions[step, r, place] = bank.own + latents[step, r, partner]
                    continue
                kind = chance.random()
                if kind < run.own:
                    pick = int(chance.integers(bank.own))
                    latents[step, r, place], captions[step, r, place] = pick, bank.own + pick
                elif kind < run.own + run.wide:
                    pick = int(chance.integers(bank.wide))
                    latents[step, r, place] = bank.own + bank.drawn + pick
                    captions[step, r, place] = 2 * bank.own + pick
                    image_target[step, r, place] = run.images
                else:
                    pick = int(chance.integers(min(run.drawn, bank.drawn)))
                    latents[step, r, place] = bank.own + pick
                    captions[step, r, place] = bank.own + pick % bank.own
                    image_target[step, r, place] = run.images
            drop = chance.random(batch) < run.dropout
            captions[step, r, drop] = empty
    return Draws(latents, captions, prior, image_target, noise)


def train(many: Many, runs: Sequence[Run], banks: Mapping[int, Bank], steps: int, batch: int, seed: int = 0) -> Tensor:
    """Trains all runs; returns the mean losses (steps // 50, runs)."""
    device = many.flat.device
    drawn = draws_of(runs, banks, steps, batch, seed)
    moved = [
        torch.from_numpy(x).to(device)
        for x in (drawn.latents, drawn.captions, drawn.prior, drawn.image_target, drawn.shared_noise)
    ]
    which = torch.arange(len(runs), device=device)[:, None]
    latents = torch.stack([banks[run.character].latents for run in runs])
    sequence = torch.stack([banks[run.character].sequence for run in runs])
    pooled = torch.stack([banks[run.character].pooled for run in runs])

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=device, dtype=torch.float32)[:, None]

    rates, clips, decays = (column([getattr(run, key) for run in runs]) for key in ("lr", "clip", "decay"))
    weights, guidance = column([run.weight for run in runs]), column([run.guidance for run in runs])
    usual = math.exp(0.5 + (1.15 - 0.5) / (4096 - 256) * (64 - 256))
    shifts, means = column([run.shift or usual for run in runs]), column([run.logit_mean for run in runs])
    cosine = column([float(run.schedule == "cosine") for run in runs])
    generator = torch.Generator(device).manual_seed(seed)
    losses, total = [], torch.zeros(len(runs), device=device)
    for step in range(steps):
        pick, words, prior, image_target, shared = (part[step] for part in moved)
        clean = latents[which, pick]
        sigma = torch.sigmoid(means + torch.randn(len(runs), batch, device=device, generator=generator))
        sigma = (shifts * sigma / (1 + (shifts - 1) * sigma)).clamp(1e-4, 1.0)[which, shared]
        noise = torch.randn(clean.shape, device=device, generator=generator)[which, shared]
        level = sigma[..., None, None]
        noisy, target = (1 - level) * clean + level * noise, noise - clean
        inputs = (
            noisy.flatten(0, 1),
            sigma.flatten(),
            guidance.expand(-1, batch).flatten(),
            sequence[which, words].flatten(0, 1),
            pooled[which, words].flatten(0, 1),
        )
        with torch.no_grad():
            many.switch.on = False
            rows = (prior & ~image_target).flatten().nonzero()[:, 0]
            if len(rows):
                base = many.velocity(*(part[rows] for part in inputs))
                target.view(-1, *target.shape[2:])[rows] = base
            many.switch.on = True
        many.place()
        error = (many.velocity(*inputs).view(target.shape) - target).pow(2).mean((2, 3))
        loss = (error * torch.where(prior, weights, torch.ones_like(weights))).mean(1)
        loss.sum().backward()
        warm = min(1.0, (step + 1) / 20)
        fall = 0.1 + 0.45 * (1 + math.cos(math.pi * max(0, step - 20) / max(1, steps - 20)))
        many.update(step, rates * warm * (cosine * fall + (1 - cosine)), clips, decays)
        total += loss.detach()
        if (step + 1) % 50 == 0:
            losses.append(total / 50)
            total = torch.zeros_like(total)
    return torch.stack(losses) if losses else total[None] / steps
