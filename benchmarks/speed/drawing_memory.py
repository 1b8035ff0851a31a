"""What a call of the transformer and decoding need of a card's memory at full width: the coefficients of the plan of drawing.

python -m benchmarks.speed.drawing_memory --out benchmarks/results

Two layers are enough: without gradients, a block's memory is given back before the next one.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.result_file import Row, write_result
from benchmarks.speed import edit_world, flux_world
from flenwheel_core.kernels.attention import cudnn_attention_works
from flenwheel_core.kernels.frozen_weights import Storage
from flenwheel_core.models.flux1.fast import FastFlux
from flenwheel_core.models.qwen_image.fast import FastQwen
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan

GIB = 2**30
CHANNELS = 3072
STORAGES: tuple[Storage, ...] = ("dense", "fp8", "nf4")
PIXELS = (512, 768, 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    rows: list[Row] = []
    for storage in STORAGES:
        rows += [*_calls("flux", storage, _flux(storage)), *_calls("qwen_edit", storage, _qwen(storage))]
    rows += [*_decoding("flux"), *_decoding("qwen_edit")]
    write_result("drawing_memory", rows, folder=arguments.out)


def _plan(storage: Storage) -> FastPlan:
    device = torch.device("cuda", 0)
    return FastPlan(storage, storage, cudnn=cudnn_attention_works(device, 128))


def _flux(storage: Storage) -> Callable[[int], tuple[int, Callable[[], object]]]:
    config = {**flux_world.CONFIGS["full"], "num_layers": 2, "num_single_layers": 2}
    device = torch.device("cuda", 0)
    source = flux_world.random_source(config, device, torch.bfloat16)
    model = FastFlux(config, source, _plan(storage), AdapterPlan({}, {}))

    def prepared(pixels: int) -> tuple[int, Callable[[], object]]:
        tokens = (pixels // 16) ** 2
        given = {
            "hidden_states": _normal(1, tokens, 64),
            "encoder_hidden_states": _normal(1, 512, 4096),
            "pooled_projections": _normal(1, 768),
            "timestep": torch.ones(1, device=device),
            "guidance": torch.ones(1, device=device),
            "img_ids": torch.zeros(tokens, 3, device=device),
            "txt_ids": torch.zeros(512, 3, device=device),
        }
        return tokens + 512, lambda: model(**given)

    return prepared


def _qwen(storage: Storage) -> Callable[[int], tuple[int, Callable[[], object]]]:
    config = {**edit_world.CONFIGS["full"], "num_layers": 2}
    device = torch.device("cuda", 0)
    model = FastQwen(config, edit_world.source_of(config, device, torch.bfloat16), _plan(storage), AdapterPlan({}, {}))

    def prepared(pixels: int) -> tuple[int, Callable[[], object]]:
        sizes = edit_world.sizes_of(pixels, size="full")
        tokens = sizes.target_tokens + sizes.reference_tokens
        given: dict[str, Any] = {
            "hidden_states": _normal(1, tokens, 64),
            "timestep": torch.ones(1, device=device, dtype=torch.bfloat16),
            "encoder_hidden_states": _normal(1, 384, 3584),
            "img_shapes": [sizes.image_shapes()],
        }
        return tokens + 384, lambda: model(**given)

    return prepared


def _calls(family: str, storage: Storage, prepared: Callable[[int], tuple[int, Callable[[], object]]]) -> list[Row]:
    rows: list[Row] = []
    for pixels in PIXELS:
        tokens, call = prepared(pixels)
        allocated, reserved = _peak(call)
        rows.append(
            {
                "case": f"{family}_{storage}_{pixels}",
                "tokens": tokens,
                "allocated_gib": allocated / GIB,
                "reserved_gib": reserved / GIB,
                "bytes_per_token_and_channel": reserved / tokens / CHANNELS,
            }
        )
        print(rows[-1], flush=True)
    return rows


def _decoding(family: str) -> list[Row]:
    from diffusers import AutoencoderKL, AutoencoderKLQwenImage

    vae: Any
    if family == "flux":
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=16,
            sample_size=1024,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
    else:
        vae = AutoencoderKLQwenImage()
    vae = vae.to("cuda", torch.bfloat16).eval()
    rows: list[Row] = []
    for pixels, tile in ((512, None), (768, None), (1024, None), (1024, 512)):
        if tile is not None and family == "flux":
            vae.enable_tiling()
            vae.tile_sample_min_size, vae.tile_latent_min_size = tile, tile // 8
        elif tile is not None:
            vae.enable_tiling(tile, tile, tile - 128, tile - 128)
        side = pixels // 8
        latents = _normal(1, 16, side, side) if family == "flux" else _normal(1, 16, 1, side, side)
        allocated, reserved = _peak(lambda latents=latents: vae.decode(latents, return_dict=False))
        seconds = _seconds(lambda latents=latents: vae.decode(latents, return_dict=False))
        area = min(pixels, tile or pixels) ** 2
        rows.append(
            {
                "case": f"{family}_decoding_{pixels}" + ("" if tile is None else f"_tiles_{tile}"),
                "allocated_gib": allocated / GIB,
                "reserved_gib": reserved / GIB,
                "bytes_per_pixel": reserved / area,
                "seconds": seconds,
            }
        )
        print(rows[-1], flush=True)
    return rows


@torch.no_grad()
def _peak(call: Callable[[], object]) -> tuple[int, int]:
    """Bytes allocated and reserved at the peak of a warm call, beyond what is there before."""
    call()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before[0], torch.cuda.max_memory_reserved() - before[1]


@torch.no_grad()
def _seconds(call: Callable[[], object]) -> float:
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    began.record()
    call()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / 1000


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


if __name__ == "__main__":
    main()
