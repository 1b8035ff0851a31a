"""What the embedder's and the reader's training share: pictures on the device, the loop, the folder and its record."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Dinov2ForImageClassification

from flenwheel_core.nano.models.vision import save_vision
from tools.nano_training.loop import Plan, Training
from tools.nano_training.transplant import load_what_fits, transplant_labels
from tools.nano_training.workspace import Run, fill, machine_facts, wait_for, write_json

PLAN = Plan(learning_rate=1.5e-3, weight_decay=0.03, ema_step=0.002)
FURTHER_LEARNING_RATE = 8e-4


def pictures_on_device(run: Run) -> Tensor:
    """All training pictures, uint8 (pictures, 128, 128, 3)."""
    wait_for(run.data / "done")
    source = np.load(run.data / "pictures.npy", mmap_mode="r")
    target = torch.empty(source.shape, dtype=torch.uint8, device=run.device)
    fill(target, source)
    return target


def logits_of(model: Dinov2ForImageClassification, pixels: Tensor) -> Tensor:
    """(batch, classes) in fp32; computed in bf16 on a card."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.device.type == "cuda"):
        logits: Tensor = model(pixel_values=pixels).logits
    return logits.float()


def begin(run: Run, model: Dinov2ForImageClassification) -> Dinov2ForImageClassification:
    """The model on the device, from the finished folder `run.init` if there is one; classes are matched by name."""
    if run.init is not None:
        finished = Dinov2ForImageClassification.from_pretrained(run.init, dtype=torch.float32, use_safetensors=True)
        load_what_fits(model.dinov2, finished.dinov2)
        transplant_labels(model.classifier, finished.classifier, model.config.id2label, finished.config.id2label)
    return model.to(run.device).train()


def train_vision(
    run: Run,
    name: str,
    model: Dinov2ForImageClassification,
    extra: dict[str, nn.Module],
    loss: Callable[[], Tensor],
    plan: Plan = PLAN,
) -> None:
    """Trains on `loss` and writes the folder `name` and the record `name.json` into the work folder, the record last."""
    if run.init is not None:
        plan = replace(plan, learning_rate=FURTHER_LEARNING_RATE)
    plan = replace(plan, max_steps=run.max_steps)
    run.work.mkdir(parents=True, exist_ok=True)
    training = Training({name: model, **extra}, loss, plan, run.work / f"{name}.checkpoint")
    training.prepare()
    training.resume()
    progress = training.run(run.seconds_left())
    shutil.rmtree(run.work / name, ignore_errors=True)
    save_vision(model, run.work / name)
    record = {
        "part": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "batch": run.batch,
        "seed": run.seed,
        "world": run.world,
        "continued": run.init is not None,
        "plan": asdict(plan),
        "steps": progress.steps,
        "train_seconds": round(progress.train_seconds, 1),
        "final_loss": progress.final_loss(),
        "versions": machine_facts(run.device),
    }
    write_json(run.work / f"{name}.json", record)
