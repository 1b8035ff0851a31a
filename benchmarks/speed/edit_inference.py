"""One edit of Qwen-Image-Edit at 1 MP and full size: seconds and memory, ours and plain diffusers, on this machine's card.

Weights are random in the real shapes. An edit is all denoising calls and the decoding, with one reference of 1 MP; its prompt and
pictures are encoded before, in a phase of its own that never shares the card with the transformer.

    python -m benchmarks.speed.edit_inference                                 # every case, about five minutes on an H200
    python -m benchmarks.speed.edit_inference --size tiny --out /tmp/results  # try the code on a CPU
"""

import argparse
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.result_file import RESULTS, Row, write_result
from benchmarks.speed.edit_world import (
    CONFIGS,
    build_fast,
    build_reference,
    clean,
    peak_reserved_gib,
    profile,
    set_cap,
    sizes_of,
    synchronize,
    text_tokens,
)
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.memory.drawing import TILE_OVERLAP_PX, TILE_PX
from flenwheel_core.models.qwen_image.conditioning import decode_latents
from flenwheel_core.models.qwen_image.drawing import draw
from flenwheel_core.models.qwen_image.fast import FastQwen
from flenwheel_core.nano.models.editor import build_scheduler
from flenwheel_core.transformer.plan import FastPlan

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage

PIXELS = 1024
CAP_GIB = 23.0
MODES = (("8_steps", 8, 1.0), ("40_steps_cfg", 40, 4.0))
"""Few steps without guidance, and the full number with it."""


@dataclass
class Bench:
    """What the cases share."""

    size: str
    folder: Path
    device: torch.device
    seconds: float
    began: float = field(default_factory=time.monotonic)
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.vae = build_vae(self.size, self.device)

    def keep(self, case: str, row: dict[str, float | bool], **facts: str | float | bool | int | None) -> None:
        self.rows.append({"case": case, "pixels": PIXELS, **facts, **row})
        print(f"[{time.monotonic() - self.began:6.1f}] {self.rows[-1]}", flush=True)
        write_result("edit_inference", self.rows, folder=self.folder)

    @property
    def has_time(self) -> bool:
        return time.monotonic() - self.began < self.seconds


def build_vae(size: str, device: torch.device) -> "AutoencoderKLQwenImage":
    """The real autoencoder's shapes, with random weights."""
    from diffusers import AutoencoderKLQwenImage

    torch.manual_seed(0)
    facts = {} if size == "full" else {"base_dim": 16, "num_res_blocks": 1}
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return AutoencoderKLQwenImage(**facts).to(device, dtype).requires_grad_(False).eval()


def make_edit(bench: Bench, model: torch.nn.Module, true_cfg: float) -> Callable[[int], float]:
    """What draws a whole edit in so many steps; gives the seconds that the decoding took of it."""
    sizes = sizes_of(PIXELS, size=bench.size)
    device, width = bench.device, CONFIGS[bench.size]["joint_attention_dim"]
    tokens = text_tokens(PIXELS, size=bench.size)
    generator = torch.Generator(device).manual_seed(3)
    references = torch.randn(1, sizes.reference_tokens, 64, device=device, generator=generator)
    prompt, negative = (torch.randn(tokens, width, device=device, generator=generator) for _ in range(2))
    facts = {"sizes": sizes, "references": references, "prompt": prompt, "true_cfg": true_cfg, "seed": 1}
    facts["negative"] = negative if true_cfg > 1 else None

    def edit(steps: int) -> float:
        latents = draw(model, build_scheduler(), steps=steps, **facts)  # type: ignore[arg-type]
        synchronize()
        began = time.monotonic()
        decode_latents(bench.vae, latents.nan_to_num(), sizes.target)
        synchronize()
        return time.monotonic() - began

    return edit


def edit_seconds(bench: Bench, model: torch.nn.Module, *, steps: int, true_cfg: float) -> dict[str, float | bool]:
    """Seconds of one whole edit, after a short one that warms up."""
    edit = make_edit(bench, model, true_cfg)
    clean()
    began = time.monotonic()
    edit(1)
    warm = time.monotonic() - began
    began = time.monotonic()
    decoding = edit(steps)
    seconds = time.monotonic() - began
    calls = steps * (2 if true_cfg > 1 else 1)
    return {
        "edit_seconds": seconds,
        "seconds_per_call": (seconds - decoding) / calls,
        "calls": calls,
        "decoding_seconds": decoding,
        "warmup_seconds": warm,
        "peak_reserved_gib": peak_reserved_gib(),
    }


def ours(bench: Bench, storage: Storage) -> None:
    """The fast transformer within what a 24 GB card leaves for a process, blocks compiled."""
    set_cap(CAP_GIB)
    if storage == "fp8":  # as the stage plans it: a whole picture's decoding does not fit beside these weights
        bench.vae.enable_tiling(TILE_PX, TILE_PX, TILE_PX - TILE_OVERLAP_PX, TILE_PX - TILE_OVERLAP_PX)
    else:
        bench.vae.disable_tiling()
    plan = FastPlan(
        storage, storage, compile=bench.device.type == "cuda", cudnn=cudnn_attention_works(bench.device, 128)
    )
    model = build_fast(CONFIGS[bench.size], bench.device, plan, adapters=False)
    ending = "_nf4" if storage == "nf4" else ""
    for name, steps, true_cfg in MODES:
        if bench.has_time:
            row = timed(bench, model, steps=steps, true_cfg=true_cfg)
            facts = {"storage": storage, "cap_gib": CAP_GIB, "steps": steps, "true_cfg": true_cfg}
            bench.keep(f"ours_edit_{name}{ending}", row, cudnn=plan.cudnn, **facts)
    if bench.has_time:
        edit = make_edit(bench, model, 1.0)
        profile(lambda: edit(2), bench.folder / f"profile_edit_{storage}.txt")


def timed(bench: Bench, model: FastQwen, *, steps: int, true_cfg: float) -> dict[str, float | bool]:
    """With compiled blocks, or without if the compiler fails."""
    tiled = bench.vae.use_tiling
    try:
        return {**edit_seconds(bench, model, steps=steps, true_cfg=true_cfg), "tiled": tiled}
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:
        traceback.print_exc()
        model.run_eagerly()
    return {**edit_seconds(bench, model, steps=steps, true_cfg=true_cfg), "tiled": tiled}


def reference(bench: Bench) -> None:
    """diffusers' transformer in bitsandbytes' NF4, nothing compiled."""
    model = build_reference(CONFIGS[bench.size], bench.device, adapters=False)
    storage = "nf4" if bench.device.type == "cuda" else "dense"
    for name, steps, true_cfg in MODES:
        row = edit_seconds(bench, model, steps=steps, true_cfg=true_cfg)
        bench.keep(f"reference_edit_{name}", row, storage=storage, steps=steps, true_cfg=true_cfg)


def main() -> None:
    """Writes the result file after every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(CONFIGS), default="full")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further case after so long")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench = Bench(options.size, options.out, device, options.seconds)
    best: Storage = "fp8" if device.type == "cuda" else "dense"
    parts: list[Callable[[], None]] = [lambda: ours(bench, best), lambda: reference(bench)]
    if device.type == "cuda":
        parts.append(lambda: ours(bench, "nf4"))
    for part in parts:
        try:
            if bench.has_time:
                part()
        except Exception:
            traceback.print_exc()
        set_cap(None)
        clean()


if __name__ == "__main__":
    main()
