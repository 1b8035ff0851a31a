"""What a benchmark saves whose second LoRA is drawn with the transformer of the first: klein draws with two LoRAs, then edits with a third.

    python -m benchmarks.speed.shared_weights FOLDER [--side 1024] [--steps 20] [--vram-gib 24]

FOLDER is a FLUX.2 klein; LoRAs are random. Each piece of work opens the model as a stage does, first alone, then with a shelf; the prompts
were encoded before. Pictures must be the same: on a CPU bit for bit.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.result_file import RESULTS, Row, write_part
from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.models.flux2.artist import open_artist
from flenwheel_core.models.flux2.lora_host import linear_shapes_of
from flenwheel_core.models.flux2.names import TARGETS
from flenwheel_core.models.protocols import EditJob, GenerateJob, ModelSetup
from flenwheel_core.models.shelf import Shelf
from flenwheel_core.recipes.train import LoraRecipe
from flenwheel_core.transformer.shell import transformer_config

NAME = "shared_weights"
RANK = 16


def write_lora(folder: Path, path: Path, seed: int) -> LoraFile:
    """A LoRA of random numbers on attention and MLP of this model."""
    shapes = linear_shapes_of(transformer_config(folder))
    generator, tensors = torch.Generator().manual_seed(seed), {}
    for name, rank in lora_ranks(shapes, LoraRecipe(rank=RANK), TARGETS).items():
        outputs, inputs = shapes[name]
        tensors[f"transformer.{name}.lora_A.weight"] = torch.randn(rank, inputs, generator=generator) * inputs**-0.5
        tensors[f"transformer.{name}.lora_B.weight"] = torch.randn(outputs, rank, generator=generator) * 0.01
    path.write_bytes(tensor_bytes(tensors))
    return LoraFile(path, 1.0)


def work(
    folder: Path, settings: Settings, loras: Sequence[LoraFile], sampler: Sampler, shelf: Shelf | None
) -> tuple[list[Image.Image], list[float]]:
    """A picture with each of the first two LoRAs and an edit with the third; seconds of each from opening to the end."""
    picture = Image.linear_gradient("L").resize((sampler.width, sampler.height)).convert("RGB")
    images, seconds = [], []
    for number, lora in enumerate(loras):
        began = time.perf_counter()
        with open_artist(folder, "measured", settings, ModelSetup(loras=(lora,), shelf=shelf)) as artist:
            if number < 2:
                (made,) = artist.generate([GenerateJob("draw", "photo of ohwx person", 1, sampler)])
            else:
                (made,) = artist.edit([EditJob("edit", "make it blue", 2, sampler, (picture,))])
        images.append(made.image)
        seconds.append(time.perf_counter() - began)
    if shelf is not None:
        shelf.clear()
    return images, seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.shared_weights", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", default="klein", help="the row's name")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--vram-gib", type=float)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    sampler = Sampler(steps=given.steps, guidance=1.0, true_cfg=4.0, width=given.side, height=given.side)
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            gpu="cpu" if given.cpu else "auto", workspace=Path(scratch), vram_gib=None if given.cpu else given.vram_gib
        )
        loras = [write_lora(given.folder, Path(scratch) / f"{n}.safetensors", n) for n in range(3)]
        work(given.folder, settings, loras, sampler, None)  # prompts, kernels and compiled blocks
        alone, apart = work(given.folder, settings, loras, sampler, None)
        together, shared = work(given.folder, settings, loras, sampler, Shelf())
    differences = [
        float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).max())
        for one, other in zip(alone, together, strict=True)
    ]
    row: Row = {
        "case": given.case,
        "second_lora_seconds": apart[1],
        "second_lora_shared_seconds": shared[1],
        "edit_seconds": apart[2],
        "edit_shared_seconds": shared[2],
        "saved_seconds": apart[1] - shared[1],
        "largest_difference_levels": max(differences),
        "side_px": given.side,
        "steps": given.steps,
    }
    print(row)
    print(write_part(NAME, [row], folder=given.out))


if __name__ == "__main__":
    main()
