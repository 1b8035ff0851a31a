"""What the two autoencoders share: their loss, their measure, and turning all pictures into latents."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from flenwheel_core.nano.models.flux import LATENT_CHANNELS
from tools.nano_training.loop import Plan, Progress, Training
from tools.nano_training.workspace import Run, fill, machine_facts, wait_for, write_array, write_json

KL_WEIGHT = 2e-4
POOL = 100_000  # pictures held on the device
HELD_OUT = 512  # the last pictures are not trained on
VAE_PLAN = Plan(learning_rate=1e-3, weight_decay=1e-4, ema_step=0.002)


def to_model(pictures: Tensor) -> Tensor:
    """uint8 (batch, rows, columns, 3) -> float (batch, 3, rows, columns) in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


def face_weight(size: int, device: torch.device) -> Tensor:
    """(1, 1, size, size): pixels where heads usually are count more, because identity is read there."""
    line = torch.linspace(-1, 1, size, device=device)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return (1 + 1.5 * torch.exp(-((columns / 0.42) ** 2 + ((rows + 0.14) / 0.5) ** 2)))[None, None]


def reconstruction_loss(truth: Tensor, decoded: Tensor, mean: Tensor, logvar: Tensor, weight: Tensor) -> Tensor:
    """Weighted absolute, squared and edge error plus a faint KL term that keeps latents near a unit Gaussian."""
    error = decoded.float() - truth
    edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    mean, logvar = mean.float(), logvar.float()
    divergence = 0.5 * (mean**2 + logvar.exp() - 1 - logvar).mean()
    return (error.abs() * weight).mean() + 2 * (error**2 * weight).mean() + 0.4 * edges + KL_WEIGHT * divergence


def sample(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """A draw from the posterior."""
    return mean + (0.5 * logvar).exp() * noise


@torch.no_grad()
def psnr_db(pictures: Tensor, reconstruct: Callable[[Tensor], Tensor], batch: int = 64) -> float:
    """Mean peak signal-to-noise ratio over pictures (count, rows, columns, 3) of uint8, measured on rounded output."""
    values = []
    for part in pictures.split(batch):
        decoded = reconstruct(to_model(part)).float().clamp(-1, 1)
        rounded = ((decoded + 1) * 127.5).round().permute(0, 2, 3, 1)
        error = ((rounded - part.float()) ** 2).flatten(1).mean(1).clamp_min(1e-6)
        values.append(10 * torch.log10(255**2 / error))
    return float(torch.cat(values).mean())


class Codec(Protocol):
    """An autoencoder seen as two plain functions on single pictures."""

    name: str
    module: nn.Module

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 3, rows, columns) -> mean and log-variance, each (batch, channels, rows / 8, columns / 8)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """The inverse, not clamped."""
        ...


def train_codec(
    codec: Codec, pictures: Tensor, ready: Callable[[], float], plan: Plan, batch: int, checkpoint: Path
) -> Progress:
    """Trains `codec` on `pictures` (count, rows, columns, 3).

    `ready` fills that tensor once the step was recorded, and says how many seconds may be trained.
    """
    device = pictures.device
    size = pictures.shape[1]
    weight = face_weight(size, device)

    def forward(pixels: Tensor, noise: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            mean, logvar = codec.moments(pixels)
            decoded = codec.decode(sample(mean.float(), logvar.float(), noise))
        return reconstruction_loss(pixels, decoded, mean, logvar, weight)

    compiled = torch.compile(forward, dynamic=False) if device.type == "cuda" else forward

    def loss() -> Tensor:
        pixels = to_model(pictures[torch.randint(len(pictures), (batch,), device=device)])
        flip = torch.rand(batch, 1, 1, 1, device=device) < 0.5
        pixels = torch.where(flip, pixels.flip(-1), pixels)
        return compiled(pixels, torch.randn(batch, LATENT_CHANNELS, size // 8, size // 8, device=device))

    training = Training({codec.name: codec.module}, loss, plan, checkpoint)
    training.prepare()
    seconds = ready()
    training.resume()
    return training.run(seconds)


def run_codec(
    run: Run,
    codec: Codec,
    plan: Plan,
    measure: Callable[[nn.Module, Tensor], None],
    reconstruct: Callable[[Tensor], Tensor],
) -> None:
    """Trains, measures, and writes the model folder, the latents of all pictures and a record into the work folder.

    `measure` writes the statistics of the latents into the model's configuration.
    """
    run.work.mkdir(parents=True, exist_ok=True)
    source = np.load(wait_for(run.data / "pictures.npy"), mmap_mode="r")
    held = min(HELD_OUT, len(source) // 4)
    count = min(POOL, len(source) - held)
    pool = torch.randint(0, 256, (count, *source.shape[1:]), dtype=torch.uint8, device=run.device)

    def ready() -> float:
        wait_for(run.data / "done")
        fill(pool, source)
        return run.seconds_left()

    plan = replace(plan, max_steps=run.max_steps)
    progress = train_codec(codec, pool, ready, plan, run.batch, run.work / f"{codec.name}.pt")
    codec.module.eval()
    held_out = torch.from_numpy(np.ascontiguousarray(source[-held:])).to(run.device)
    quality = psnr_db(held_out, reconstruct)
    latents = torch.empty(
        (len(source), LATENT_CHANNELS, source.shape[1] // 8, source.shape[2] // 8),
        dtype=torch.float16,
        device=run.device,
    )
    with torch.no_grad():
        fill(latents, source, chunk=512, convert=lambda part: codec.moments(to_model(part))[0])
    measure(codec.module, latents)
    codec.module.to(torch.float16).save_pretrained(run.work / codec.name)  # type: ignore[operator]
    record = {
        "steps": progress.steps,
        "batch": run.batch,
        "seconds": round(progress.train_seconds, 1),
        "final_loss": progress.final_loss(),
        "psnr_db": round(quality, 2),
        "seed": run.seed,
        "made_with": machine_facts(run.device),
    }
    write_json(run.work / f"{codec.name}.json", record)
    write_array(run.work / f"{codec.name}_latents.npy", latents.cpu().numpy())
