"""One edit of Qwen-Image-Edit at 1 MP and full size: seconds and memory, ours and plain diffusers, on this machine's card.

Weights are random in the real shapes. An edit is all denoising calls and the decoding, with one reference of 1 MP; its prompt and
pictures are encoded before, in a phase of its own that never shares the card with the transformer.

    python -m benchmarks.edit_inference                                 # every case, about five minutes on an H200
    python -m benchmarks.edit_inference --size tiny --out /tmp/results  # try the code on a CPU
"""

import argparse
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.edit_world import (
    CONFIGS,
    build_fast,
    build_reference,
    clean,
    peak_reserved_gib,
    set_cap,
    sizes_of,
    synchronize,
    text_tokens,
)
from benchmarks.result_file import RESULTS, Row, write_result
from flenwheel_core.families.flux.fast import FastPlan
from flenwheel_core.families.qwen_edit.conditioning import decode_latents
from flenwheel_core.families.qwen_edit.drawing import draw
from flenwheel_core.families.qwen_edit.fast import FastQwen
from flenwheel_core.nano.models.editor import build_scheduler
from flenwheel_core.training.attention import cudnn_attention_works

if TYPE_CHECKING:
    from diffusers import AutoencoderKLQwenImage

PIXELS = 1024
CAP_GIB = 24.0


def build_vae(size: str, device: torch.device, dtype: torch.dtype) -> "AutoencoderKLQwenImage":
    """The real autoencoder's shapes, with random weights."""
    from diffusers import AutoencoderKLQwenImage

    torch.manual_seed(0)
    facts = {} if size == "full" else {"base_dim": 16, "num_res_blocks": 1}
    return AutoencoderKLQwenImage(**facts).to(device, dtype).requires_grad_(False).eval()


def edit_seconds(
    model: torch.nn.Module, vae: "AutoencoderKLQwenImage", options: argparse.Namespace, *, steps: int, true_cfg: float
) -> dict[str, float]:
    """Seconds of one whole edit, after a short one that warms up."""
    sizes = sizes_of(PIXELS, size=options.size)
    device, width = vae.device, CONFIGS[options.size]["joint_attention_dim"]
    tokens = text_tokens(PIXELS, size=options.size)
    generator = torch.Generator(device).manual_seed(3)
    references = torch.randn(1, sizes.reference_tokens, 64, device=device, generator=generator)
    prompt, negative = (torch.randn(tokens, width, device=device, generator=generator) for _ in range(2))
    facts = {"sizes": sizes, "references": references, "prompt": prompt, "true_cfg": true_cfg, "seed": 1}
    facts["negative"] = negative if true_cfg > 1 else None

    def edit(count: int) -> None:
        latents = draw(model, build_scheduler(), steps=count, **facts)  # type: ignore[arg-type]
        decode_latents(vae, latents.nan_to_num(), sizes.target)
        synchronize()

    clean()
    began = time.monotonic()
    edit(1)
    warm = time.monotonic() - began
    began = time.monotonic()
    edit(steps)
    seconds = time.monotonic() - began
    calls = steps * (2 if true_cfg > 1 else 1)
    return {
        "edit_seconds": seconds,
        "seconds_per_call": seconds / calls,
        "calls": calls,
        "warmup_seconds": warm,
        "peak_reserved_gib": peak_reserved_gib(),
    }


def main() -> None:
    """Writes the result file after every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(CONFIGS), default="full")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further case after so long")
    options = parser.parse_args()
    began, rows = time.monotonic(), list[Row]()
    cuda = torch.cuda.is_available()
    device, dtype = (torch.device("cuda"), torch.bfloat16) if cuda else (torch.device("cpu"), torch.float32)
    config = CONFIGS[options.size]
    vae = build_vae(options.size, device, dtype)

    def keep(case: str, row: dict[str, float], **facts: str | float | bool | int | None) -> None:
        rows.append({"case": case, "pixels": PIXELS, **facts, **row})
        print(f"[{time.monotonic() - began:6.1f}] {rows[-1]}", flush=True)
        write_result("edit_inference", rows, folder=options.out)

    for storage in ("fp8", "nf4") if cuda else ("dense",):
        set_cap(CAP_GIB)
        try:
            plan = FastPlan(storage, storage, compile=cuda, cudnn=cudnn_attention_works(device, 128))
            model = build_fast(config, device, plan, adapters=False)
            for name, steps, true_cfg in (("8_steps", 8, 1.0), ("40_steps_cfg", 40, 4.0)):
                row = timed(model, vae, options, steps=steps, true_cfg=true_cfg)
                ending = "" if storage != "nf4" else "_nf4"
                keep(f"ours_edit_{name}{ending}", row, storage=storage, cap_gib=CAP_GIB, steps=steps, true_cfg=true_cfg)
            del model
        except torch.cuda.OutOfMemoryError as error:
            print(f"{storage} does not fit {CAP_GIB} GiB: {error}", flush=True)
        clean()
    set_cap(None)
    reference = build_reference(config, device, adapters=False)
    for name, steps, true_cfg in (("8_steps", 8, 1.0), ("40_steps_cfg", 40, 4.0)):
        if time.monotonic() - began > options.seconds:
            break
        row = edit_seconds(reference, vae, options, steps=steps, true_cfg=true_cfg)
        keep(f"reference_edit_{name}", row, storage="nf4" if cuda else "dense", steps=steps, true_cfg=true_cfg)


def timed(
    model: FastQwen, vae: "AutoencoderKLQwenImage", options: argparse.Namespace, *, steps: int, true_cfg: float
) -> dict[str, float]:
    """With compiled blocks, or without if the compiler fails."""
    try:
        return edit_seconds(model, vae, options, steps=steps, true_cfg=true_cfg)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:
        traceback.print_exc()
        model.run_eagerly()
        return edit_seconds(model, vae, options, steps=steps, true_cfg=true_cfg)


if __name__ == "__main__":
    main()
