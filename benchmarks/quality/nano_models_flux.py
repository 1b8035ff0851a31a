"""The nano models that draw: FLUX, its autoencoder, LoRAs on it, and the editor."""

import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderKLQwenImage, FluxPipeline
from PIL import Image

from benchmarks.quality import nano_learning
from benchmarks.result_file import RESULTS, Row
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.protocols import EditJob, GenerateJob
from flenwheel_core.models.qwen_image.editor import QwenEditor
from flenwheel_core.models.qwen_image.loading import find_model
from flenwheel_core.models.registry import open_editor, open_generator
from flenwheel_core.nano.measure import NanoEmbedder, NanoReader, Reading, Vectors, facts_of, shares_right
from flenwheel_core.nano.models.flux import PICTURE_SIZE, TEXT_TOKENS
from flenwheel_core.nano.threshold import SAME_CHARACTER
from flenwheel_core.nano.world import (
    HELD_OUT_FROM,
    View,
    caption,
    instruction,
    make_character,
    make_edit,
    make_view,
    parse_caption,
    parse_instruction,
    render,
)
from flenwheel_core.nano.world.views import VARIED
from tools.nano_training.autoencoder import psnr_db
from tools.nano_training.qwen_vae import QwenCodec
from tools.nano_training.qwen_vae import reconstruct as qwen_reconstruct
from tools.nano_training.vae import FluxCodec
from tools.nano_training.vae import reconstruct as flux_reconstruct

FIRST = HELD_OUT_FROM + 400_000
PICTURES = 50
CAPTIONS = 500
EDITS = 500
LORA_CHARACTERS = 10
BATCH = 10
DRAW = Sampler(steps=20, guidance=3.5, true_cfg=1.0, width=PICTURE_SIZE, height=PICTURE_SIZE)
EDIT = Sampler(steps=12, guidance=1.0, true_cfg=1.0, width=PICTURE_SIZE, height=PICTURE_SIZE)


def vae(device: str) -> list[Row]:
    """Peak signal-to-noise ratio of both autoencoders on held-out renders."""
    chosen = [render(make_character(FIRST + i), make_view(FIRST + i)) for i in range(PICTURES)]
    pixels = torch.stack([torch.from_numpy(np.array(image)) for image in chosen]).to(device)
    flux = FluxCodec(
        AutoencoderKL.from_pretrained(weights_folder("flux") / "vae", torch_dtype=torch.float32).to(device)
    )
    qwen = QwenCodec(
        AutoencoderKLQwenImage.from_pretrained(weights_folder("editor") / "vae", torch_dtype=torch.float32).to(device)
    )
    return [
        {"case": "vae", "pictures": PICTURES, "psnr_db": psnr_db(pixels, lambda x: flux_reconstruct(flux, x))},
        {"case": "vae_editor", "pictures": PICTURES, "psnr_db": psnr_db(pixels, lambda x: qwen_reconstruct(qwen, x))},
    ]


def accuracies(expected: Sequence[Reading], images: Sequence[Image.Image], device: str) -> dict[str, float]:
    """For each fact the share of pictures in which the reader sees it, as figures of a row."""
    shares = shares_right(expected, reader(device).read(images))
    return {f"{name}_accuracy": share for name, share in shares.items()}


def text_to_image(device: str) -> list[Row]:
    """How well pictures follow full captions; the second row is the reader on true renders, its own ceiling."""
    pairs = [(make_character(FIRST + i), make_view(FIRST + i)) for i in range(CAPTIONS)]
    asked = [caption(*pair) for pair in pairs]
    wanted = [facts_of(parse_caption(text)) for text in asked]
    drawn = draw(new_pipeline(device), asked, first_seed=1)
    truth = [render(*pair) for pair in pairs]
    return [
        {"case": "text_to_image", "captions": CAPTIONS, **accuracies(wanted, drawn, device)},
        {"case": "text_to_image_reader_on_renders", "captions": CAPTIONS, **accuracies(wanted, truth, device)},
    ]


def lora(_device: str) -> list[Row]:
    """LoRAs on 12 renders of each of some held-out characters, by the nano recipe: the rows of `nano_learning`, measured if need be."""
    rows = nano_learning.rows_there(RESULTS, nano_learning.NAME)
    if len(rows) < LORA_CHARACTERS:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.quality.nano_learning", "--characters", str(LORA_CHARACTERS)], check=True
        )
        rows = nano_learning.rows_there(RESULTS, nano_learning.NAME)
    return [{**row, "case": f"lora_{row['case']}"} for row in nano_learning.with_mean(rows)]


def editor(device: str, processes: int = 1) -> list[Row]:
    """Edits of held-out characters: is every named change made, and is it still the same character (cosine to the true result)?"""
    shares = [range(first, EDITS, processes) for first in range(processes)]
    if processes == 1:
        parts = [edited(shares[0], device)]
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(edited, shares, [device] * processes))
    wanted, seen = ([item for part in parts for item in part[k]] for k in (0, 1))
    alike = np.concatenate([part[2] for part in parts])
    followed = [
        all(read[name] == value for name, value in facts.items()) for facts, read in zip(wanted, seen, strict=True)
    ]
    right = [read[name] == value for facts, read in zip(wanted, seen, strict=True) for name, value in facts.items()]
    return [
        {
            "case": "editor",
            "edits": EDITS,
            "instruction_followed": float(np.mean(followed)),
            "change_followed": float(np.mean(right)),
            "identity_kept": float((alike >= SAME_CHARACTER).mean()),
            "identity_cosine": float(alike.mean()),
            **{f"{name}_accuracy": share for name, share in shares_right(wanted, seen).items()},
        }
    ]


def edited(numbers: Sequence[int], device: str) -> tuple[list[Reading], list[Reading], Vectors]:
    """Of these edits: what was asked for, what the result shows, and its cosine to the true result."""
    if device == "cpu":
        torch.set_num_threads(2)
    pairs = [(make_character(FIRST + 5_000 + i), make_view(FIRST + 5_000 + i)) for i in numbers]
    targets = [make_edit(view, FIRST + i) for i, (_, view) in zip(numbers, pairs, strict=True)]
    asked = [instruction(view, target) for (_, view), target in zip(pairs, targets, strict=True)]
    jobs = [
        EditJob(str(i), text, i, EDIT, (render(*pair),)) for i, text, pair in zip(numbers, asked, pairs, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(gpu="cpu" if device == "cpu" else "auto", workspace=Path(folder))
        # float32 also on a card: the figures are those of the CPU.
        model = replace(find_model(weights_folder("editor"), "nano", settings), dtype=torch.float32)
        made = QwenEditor(model, TensorCache(settings.scratch / "cache"))
        images = [edit.image for edit in sorted(made.edit(jobs), key=lambda edit: int(edit.key))]
    truth = [render(character, target) for (character, _), target in zip(pairs, targets, strict=True)]
    alike = (embedder(device).embed(images) * embedder(device).embed(truth)).sum(1)
    return [named_changes(text) for text in asked], reader(device).read(images), alike


def named_changes(text: str) -> Reading:
    """What an instruction asks for, by label of the reader."""
    change = parse_instruction(text)
    return {name: value for name in VARIED if (value := getattr(change, name)) is not None}


def speed_cpu(_device: str) -> list[Row]:
    """Seconds of a picture, an edit and loading, with two threads; median of five after one."""
    torch.set_num_threads(2)
    character, view = make_character(FIRST), View("half-left", "smiling", background="forest")
    source = render(character, View())
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(gpu="cpu", workspace=Path(folder))
        start = time.perf_counter()
        with open_generator("nano", settings) as generator:
            jobs = [GenerateJob(str(i), caption(character, view), i, DRAW) for i in range(6)]
            seconds = [timed(generator.generate([job])) for job in jobs]
        rows.append({"case": "speed_cpu_image", "image_seconds": float(np.median(seconds[1:]))})
        with open_editor("nano", settings) as made:
            edits = [EditJob(str(i), "same person, forest background", i, EDIT, (source,)) for i in range(6)]
            seconds = [timed(made.edit([job])) for job in edits]
        rows.append({"case": "speed_cpu_edit", "edit_seconds": float(np.median(seconds[1:]))})
    start = time.perf_counter()
    new_pipeline()
    rows.append({"case": "speed_cpu_load", "load_seconds": time.perf_counter() - start})
    return rows


def timed(work: object) -> float:
    """Seconds until an iterator is used up."""
    start = time.perf_counter()
    list(work)  # type: ignore[call-overload]
    return time.perf_counter() - start


def new_pipeline(device: str = "cpu") -> FluxPipeline:
    """Nano FLUX in float32."""
    loaded: FluxPipeline = FluxPipeline.from_pretrained(
        weights_folder("flux"), dtype=torch.float32, local_files_only=True
    )
    loaded.set_progress_bar_config(disable=True)
    loaded.to(device)
    return loaded


def draw(flux: FluxPipeline, prompts: Sequence[str], *, first_seed: int) -> list[Image.Image]:
    """Pictures of the prompts in batches, each from its own seed."""
    images: list[Image.Image] = []
    for start in range(0, len(prompts), BATCH):
        part = list(prompts[start : start + BATCH])
        images += flux(
            part,
            height=DRAW.height,
            width=DRAW.width,
            num_inference_steps=DRAW.steps,
            guidance_scale=DRAW.guidance,
            max_sequence_length=TEXT_TOKENS,
            generator=[torch.Generator().manual_seed(first_seed + start + i) for i in range(len(part))],
        ).images
    return images


@cache
def reader(device: str) -> NanoReader:
    """Loaded once."""
    return NanoReader(device=device)


@cache
def embedder(device: str) -> NanoEmbedder:
    """Loaded once."""
    return NanoEmbedder(device=device)
