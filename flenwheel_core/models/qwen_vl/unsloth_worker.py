"""Trains a LoRA on a Qwen-VL's language layers with Unsloth. Runs in an interpreter of its own, where nothing of this package is installed.

    UNSLOTH_PYTHON -I unsloth_worker.py JOB.json

The job says everything, and its folder gets everything: `adapter_model.safetensors` with `adapter_config.json` by PEFT, and `result.json`.
Each line on stdout that begins with `{` tells of the progress. Unsloth patches transformers when it is imported, so it comes first.
"""

import hashlib
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

LAYERS = r".*\.language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
"""Where adapters may sit. Unsloth's own choice is by parts of names; proofs look at what came out."""


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    out = Path(sys.argv[1]).parent
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    tell(loading="unsloth")
    import peft
    import torch
    import transformers
    import unsloth  # type: ignore[import-not-found]  # before transformers

    tell(loading="language model")
    on_card = torch.cuda.is_available()
    model, processor = unsloth.FastVisionModel.from_pretrained(
        job["model"],
        max_seq_length=job["most_tokens"],
        dtype=torch.bfloat16 if on_card else torch.float32,
        load_in_4bit=on_card and job["nf4"],
        use_gradient_checkpointing="unsloth" if on_card else False,
        local_files_only=True,
        use_safetensors=True,
        random_state=job["seed"],
        max_lora_rank=job["rank"],
    )
    before = eyes_digest(model)
    model = unsloth.FastVisionModel.get_peft_model(
        model,
        r=job["rank"],
        lora_alpha=job["alpha"],
        lora_dropout=0,
        target_modules=LAYERS,
        finetune_vision_layers=False,
        use_gradient_checkpointing="unsloth" if on_card else False,
        random_state=job["seed"],
    )
    unsloth.FastVisionModel.for_training(model)
    if job.get("most_pixels"):
        size = processor.image_processor.size
        processor.image_processor.size = {
            "shortest_edge": min(int(size["shortest_edge"]), job["most_pixels"]),
            "longest_edge": job["most_pixels"],
        }
    if on_card:
        torch.cuda.reset_peak_memory_stats()
    losses, seconds = train(model, processor, job)
    model.save_pretrained(out)
    facts = {
        "losses": losses,
        "step_seconds": statistics.median(seconds[len(seconds) // 2 :]),
        "peak_allocated_gib": torch.cuda.max_memory_allocated() / 2**30 if on_card else 0.0,
        "peak_reserved_gib": torch.cuda.max_memory_reserved() / 2**30 if on_card else 0.0,
        "eyes_before": before,
        "eyes": eyes_digest(model),
        "versions": {one.__name__: one.__version__ for one in (unsloth, torch, transformers, peft)},
    }
    part = out / "result.part"
    part.write_text(json.dumps(facts, indent=1))
    part.replace(out / "result.json")


def train(model: Any, processor: Any, job: dict[str, Any]) -> tuple[list[tuple[int, float]], list[float]]:
    """The loss every so many steps, and the seconds of each step. Batches are drawn with the job's seed."""
    import torch

    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        learned, lr=job["learning_rate"], betas=tuple(job["betas"]), weight_decay=job["weight_decay"]
    )
    chance = torch.Generator().manual_seed(job["seed"])
    weights = torch.tensor([lesson["weight"] for lesson in job["lessons"]])
    losses: list[tuple[int, float]] = []
    seconds = []
    queue: list[int] = []
    model.train()
    for step in range(1, job["steps"] + 1):
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = job["learning_rate"] * pace(step, job)
        while len(queue) < job["batch_size"]:
            queue += torch.multinomial(weights, len(weights), generator=chance).tolist()
        chosen, queue = queue[: job["batch_size"]], queue[job["batch_size"] :]
        inputs = batch_of(processor, [job["lessons"][place] for place in chosen], model.device)
        loss = model(**inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, job["max_grad_norm"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        value = float(loss.detach())
        seconds.append(time.monotonic() - began)
        if step % job["log_every"] == 0 or step == job["steps"]:
            losses.append((step, value))
        tell(step=step, loss=value)
    return losses, seconds


def pace(step: int, job: dict[str, Any]) -> float:
    """The share of the learning rate at a step: a warm-up, then constant or along a cosine."""
    if step <= job["warmup_steps"]:
        return step / job["warmup_steps"]
    if job["schedule"] != "cosine":
        return 1.0
    done = (step - job["warmup_steps"]) / max(1, job["steps"] - job["warmup_steps"])
    return 0.5 * (1 + math.cos(math.pi * done))


def batch_of(processor: Any, lessons: list[dict[str, Any]], device: Any) -> dict[str, Any]:
    """Questions with their answers, filled up on the right; only the answers and the tokens that end them are learned."""
    import torch
    from PIL import Image

    tokenizer = processor.tokenizer
    tokenizer.padding_side = "right"
    texts, pictures, answers = [], [], []
    for lesson in lessons:
        content = [{"type": "image"} for _ in lesson["pictures"]] + [{"type": "text", "text": lesson["question"]}]
        prompt = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        texts.append(prompt + lesson["answer"].strip() + tokenizer.eos_token)
        answers.append(len(tokenizer(lesson["answer"].strip(), add_special_tokens=False)["input_ids"]) + 1)
        pictures.append([Image.open(path).convert("RGB") for path in lesson["pictures"]])
    inputs = dict(processor(text=texts, images=pictures, padding=True, return_tensors="pt"))
    labels = torch.full_like(inputs["input_ids"], -100)
    for row, (length, answer) in enumerate(zip(inputs["attention_mask"].sum(dim=1).tolist(), answers, strict=True)):
        labels[row, length - answer : length] = inputs["input_ids"][row, length - answer : length]
    return {**{name: value.to(device) for name, value in inputs.items()}, "labels": labels.to(device)}


def eyes_digest(model: Any) -> str:
    """As `weights.eyes_digest`: the sha256 of names, shapes and values of the vision side."""
    import torch

    found = hashlib.sha256()
    named = {}
    for name, tensor in model.named_parameters():
        _, mark, rest = name.partition("model.visual.")
        if mark:
            named[rest] = tensor
    for name, tensor in sorted(named.items()):
        found.update(json.dumps([name, list(tensor.shape), str(tensor.dtype)]).encode())
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def tell(**facts: Any) -> None:
    """A line for whoever started this process."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
