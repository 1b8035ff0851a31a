"""One training step of a LoRA on a Qwen-VL by Unsloth, beside ours and the usual way: seconds and memory, at full size.

The model's folder is made with random weights in the real shapes. NF4, rank 64, one picture of 256 tokens with 476 tokens of text a
sample, of which 60 are the answer, as `vl_step` has it. What is measured is the backend `unsloth` as a recipe would run it, the eyes at
work at every step. Unsloth is in an interpreter of its own: FLENWHEEL_UNSLOTH_PYTHON.

    python -m benchmarks.speed.vl_unsloth --model qwen2.5-vl-7b --work FOLDER     # five minutes and 17 GB of disk
    python -m benchmarks.speed.vl_unsloth --model tiny-qwen2.5 --work FOLDER --out /tmp/results    # try the code
"""

import argparse
import copy
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.result_file import RESULTS, write_part
from benchmarks.speed.vl_world import CONFIGS
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.vl_job import VlLesson, VlTrainJob
from flenwheel_core.models.qwen_vl.proof_pictures import patchwork
from flenwheel_core.models.qwen_vl.trainer import VlModel
from flenwheel_core.models.qwen_vl.unsloth_backend import require_unsloth, train_lora
from flenwheel_core.nano.models.vlm import (
    CHAT_TEMPLATE,
    END,
    IMAGE,
    PAD,
    VIDEO,
    VISION_END,
    VISION_START,
    build_tokenizer,
)  # fmt: skip
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe

STEPS, TEXT, ANSWER, SIDE = 12, 476, 60, 448
TOKENS = {
    "image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": VISION_START, "vision_end_token_id": VISION_END,
}  # fmt: skip


def make_folder(model: str, folder: Path) -> Path:
    """The model's folder with random weights, and a processor whose words are few."""
    import transformers

    tokenizer = build_tokenizer(["a b c d e f g h"] * 30)
    config = copy.deepcopy(CONFIGS[model])
    config |= {name: tokenizer.convert_tokens_to_ids(token) for name, token in TOKENS.items()}
    older = "qwen2" in str(config["model_type"])
    kind = transformers.Qwen2_5_VLConfig if older else transformers.Qwen3VLConfig
    made = kind.from_dict(config)
    on_card = torch.cuda.is_available()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if on_card else "cpu"):
            network: Any = transformers.AutoModelForImageTextToText.from_config(made)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.02)
            else:
                parameter.fill_(1.0 if "norm" in name or "ln_q" in name else 0.0)
    ids = {"eos_token_id": tokenizer.convert_tokens_to_ids(END), "pad_token_id": tokenizer.convert_tokens_to_ids(PAD)}
    network.generation_config = transformers.GenerationConfig(**ids)
    network.save_pretrained(folder)
    patch = int(made.vision_config.patch_size)
    facts = {"patch_size": patch, "merge_size": 2, "temporal_patch_size": 2}
    size = {"shortest_edge": 4 * (2 * patch) ** 2, "longest_edge": 1280 * (2 * patch) ** 2}
    processor, video = (
        (transformers.Qwen2_5_VLProcessor, transformers.Qwen2VLVideoProcessor)
        if older
        else (transformers.Qwen3VLProcessor, transformers.Qwen3VLVideoProcessor)
    )
    processor(
        image_processor=transformers.Qwen2VLImageProcessor(**facts, size=size),
        tokenizer=tokenizer,
        video_processor=video(**facts),
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    return folder


def row_of(
    opened: VlModel, python: Path, batch: int, rank: int, text: int
) -> dict[str, str | int | float | bool | None]:
    """Seconds and memory of steps of a batch."""
    picture = patchwork(0, SIDE)
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
    question = " ".join(words[index % 8] for index in range(text - ANSWER - 30))
    answer = " ".join(words[index % 8] for index in range(ANSWER))
    lessons = (VlLesson((picture.copy,), question, answer),) * batch
    recipe = TrainingRecipe(
        steps=STEPS, batch_size=batch, learning_rate=1e-6, warmup_steps=0, min_images=1, weight_format="nf4",
        lora=LoraRecipe(rank=rank, alpha=16.0),
    )  # fmt: skip
    hooks = TrainHooks(lambda: False, lambda step, loss: None, print, lambda part: print(f"loading {part}", flush=True))
    with tempfile.TemporaryDirectory() as folder:
        made = train_lora(opened, VlTrainJob("unsloth", "unsloth", lessons, recipe, 0, Path(folder)), hooks, python)
    return {
        "case": f"unsloth_b{batch}", "model": opened.reference, "batch": batch, "picture_tokens": 256, "text_tokens": text, "rank": rank,
        "weights": "nf4", "step_seconds": made.step_seconds, "peak_allocated_gib": made.peak_allocated_gib,
        "peak_reserved_gib": made.peak_reserved_gib, "unsloth": made.versions["unsloth"], "out_of_memory": False,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", choices=CONFIGS, default="qwen2.5-vl-7b")
    parser.add_argument("--work", type=Path, required=True, help="the model's folder is made here, once")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 4])
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    began = time.monotonic()
    settings = Settings()
    python = require_unsloth(settings)
    folder = arguments.work / arguments.model
    if not (folder / "preprocessor_config.json").exists() and not (folder / "processor_config.json").exists():
        make_folder(arguments.model, folder)
        print(f"[{time.monotonic() - began:6.1f}] the folder is made", flush=True)
    small = arguments.model.startswith("tiny")
    opened = VlModel.find(folder, arguments.model, settings)
    for batch in arguments.batches:
        row = row_of(opened, python, batch, 4 if small else 64, 140 if small else TEXT)
        print(f"[{time.monotonic() - began:6.1f}] {json.dumps(row)}", flush=True)
        write_part("vl_step", [row], folder=arguments.out)


if __name__ == "__main__":
    main()
