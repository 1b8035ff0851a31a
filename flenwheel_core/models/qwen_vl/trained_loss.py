"""The trainer's own loss and gradients with what it learned: to be compared with transformers'."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.tensor_file import read_tensors
from flenwheel_core.engine.vl_job import VlTrainJob
from flenwheel_core.models.qwen_vl.eyes import Eyes, open_processor
from flenwheel_core.models.qwen_vl.task import VlTask
from flenwheel_core.models.qwen_vl.texts import batch_of, shapes_of
from flenwheel_core.models.qwen_vl.trainer import VlModel, adapt, examples_of, plan_training, ranks_of
from flenwheel_core.models.qwen_vl.wearing import PEFT_PREFIX


@dataclass(frozen=True)
class TrainedLoss:
    """Of a job's first lesson."""

    loss: float
    gradients: Mapping[str, Tensor]
    """Of the matrices by PEFT's names, float32, on the CPU. The scale is in B, as in the file."""


def trained_loss(model: VlModel, job: VlTrainJob, file: Path, cache: TensorCache) -> TrainedLoss:
    """The loss of the first lesson alone, by the language model as the trainer builds it, with the LoRA in a file. Nothing is compiled."""
    first = replace(job, lessons=job.lessons[:1])
    recipe = job.recipe.model_copy(update={"batch_size": 1, "compile": False})
    geometry, ranks = model.geometry, ranks_of(model.geometry, recipe.lora)
    processor = open_processor(model.folder, geometry, job.most_pixels)
    examples = examples_of(Eyes(model.folder, geometry, processor, model.device, model.dtype, cache), first)
    plan = plan_training(model, geometry, examples, recipe, ranks)
    _, language = adapt(model, geometry, recipe, plan, ranks, seed=job.seed)
    tensors = read_tensors(file)[0]
    with torch.no_grad():
        for name, parameter in language.lora.items():
            parameter.copy_(tensors[PEFT_PREFIX + name.replace(".default.", ".")])
    task = VlTask(language, recipe, examples, seed=0)
    made = batch_of(examples, shapes_of(examples)[0], geometry, language.embeddings)
    loss = task.loss_of(**{name: tensor.to(model.device) for name, tensor in made.items()})
    gradients = torch.autograd.grad(loss, list(language.lora.values()))
    named = dict(zip(language.lora, (gradient.float().cpu() for gradient in gradients), strict=True))
    return TrainedLoss(float(loss.detach()), named)
