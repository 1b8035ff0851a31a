"""Unsloth as a backend of the trainer: a process of its own interpreter does the work, what comes back is a LoRA file like ours.

Its releases ask for other versions than ours, and it patches transformers when it is imported, so it never runs in our process. A run that
was stopped begins anew: it has no checkpoints here.
"""

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from flenwheel_core.adapters.lora_file import file_dtype, lora_file_bytes, ui_facts
from flenwheel_core.base.errors import FlenwheelError, InputError, InterruptedStageError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.loras import LossPoint
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.tensor_file import read_tensors
from flenwheel_core.engine.vl_job import VlTrained, VlTrainJob
from flenwheel_core.models.qwen_vl import unsloth_worker
from flenwheel_core.models.qwen_vl.captioner import question_for
from flenwheel_core.models.qwen_vl.eyes import open_processor
from flenwheel_core.models.qwen_vl.geometry import ADAPTED
from flenwheel_core.models.qwen_vl.trainer import UI_NAMES, VlModel, check_job
from flenwheel_core.models.qwen_vl.wearing import PEFT_PREFIX
from flenwheel_core.recipes.train import TrainingRecipe

MOST_TOKENS = 4096
REMEDY = (
    "Make an environment for it, `python -m venv ~/unsloth && ~/unsloth/bin/pip install unsloth`, and set FLENWHEEL_UNSLOTH_PYTHON "
    "to its bin/python; or leave the backend at `own`."
)


@dataclass(frozen=True)
class UnslothTrained(VlTrained):
    """What Unsloth made, and what it took."""

    step_seconds: float
    """Median of the later half."""
    peak_allocated_gib: float
    peak_reserved_gib: float
    versions: Mapping[str, str]


def require_unsloth(settings: Settings) -> Path:
    """The interpreter that has Unsloth. Raises InputError where the setting names none, or one that is not there."""
    python = settings.unsloth_python
    if python is None:
        raise InputError("Unsloth is not set up on this machine.", why="unsloth_python is not set.", remedy=REMEDY)
    if not python.expanduser().is_file():
        raise InputError("Unsloth is not set up on this machine.", why=f"there is no {python}.", remedy=REMEDY)
    return python.expanduser()


def train_lora(model: VlModel, job: VlTrainJob, hooks: TrainHooks, python: Path) -> UnslothTrained:
    """The LoRA of a job, trained by Unsloth in `python`.

    Raises InputError or RecipeError for a job that it could not train, before anything starts; InterruptedStageError when told to stop;
    FlenwheelError with its own last words if it fails.
    """
    check_job(job)
    _check_recipe(job.recipe)
    folder = job.folder / "unsloth"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").unlink(missing_ok=True)
    asked = folder / "job.json"
    asked.write_text(json.dumps(_job_of(model, job, folder)))
    _run([str(python), "-I", unsloth_worker.__file__, str(asked)], folder, hooks)
    told = json.loads((folder / "result.json").read_text())
    hooks.note("by " + ", ".join(f"{name} {version}" for name, version in told["versions"].items()))
    lora = _lora_of(folder, model, job, told)
    return UnslothTrained(
        lora,
        tuple(LossPoint(step=step, loss=loss) for step, loss in told["losses"]),
        told["eyes"],
        told["step_seconds"],
        told["peak_allocated_gib"],
        told["peak_reserved_gib"],
        told["versions"],
    )


def _check_recipe(recipe: TrainingRecipe) -> None:
    """Raises RecipeError for choices that this backend would not follow."""
    lora = recipe.lora
    asked = {
        "weight_format": recipe.weight_format not in ("auto", "nf4", "bf16"),
        "lora.targets": not lora.include and set(lora.targets) != {"attention", "mlp"},
        "lora.include": bool(lora.include),
        "lora.exclude": bool(lora.exclude),
        "lora.blocks": bool(lora.blocks),
        "lora.block_ranks": bool(lora.block_ranks),
        "lora.rslora": lora.rslora,
        "gradient_accumulation": recipe.gradient_accumulation > 1,
        "optimizer": recipe.optimizer != "adamw",
        "schedule": recipe.schedule not in ("constant", "cosine"),
        "ema_decay": recipe.ema_decay is not None,
        "deterministic": recipe.deterministic,
        "trackers": bool(recipe.trackers),
    }
    wrong = [name for name, yes in asked.items() if yes]
    if wrong:
        raise RecipeError(
            f"Unsloth's backend does not know {', '.join(wrong)} of this recipe.",
            remedy="Leave it out, or set the backend to own.",
        )


def _job_of(model: VlModel, job: VlTrainJob, folder: Path) -> dict[str, Any]:
    """The job as the worker reads it; pictures are files beside it."""
    recipe = job.recipe
    processor = open_processor(model.folder, model.geometry, job.most_pixels)
    lessons = []
    for number, lesson in enumerate(job.lessons):
        paths = []
        for place, load in enumerate(lesson.pictures):
            path = folder / f"{number}-{place}.png"
            load().convert("RGB").save(path)
            paths.append(str(path.resolve()))
        question = lesson.question or question_for(processor)
        lessons.append({"pictures": paths, "question": question, "answer": lesson.answer, "weight": lesson.weight})
    return {
        "model": str(model.folder.resolve()),
        "most_tokens": MOST_TOKENS,
        "most_pixels": job.most_pixels,
        "nf4": recipe.weight_format in ("nf4", "auto"),
        "rank": recipe.lora.rank,
        "alpha": recipe.lora.rank if recipe.lora.alpha is None else recipe.lora.alpha,
        "seed": job.seed,
        "learning_rate": recipe.learning_rate,
        "betas": recipe.betas,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "warmup_steps": recipe.warmup_steps,
        "schedule": recipe.schedule,
        "log_every": recipe.log_every,
        "lessons": lessons,
    }


def _run(command: list[str], folder: Path, hooks: TrainHooks) -> None:
    """The worker to its end; each line of its progress is passed on."""
    with (folder / "stderr.txt").open("w") as words:
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True, cwd=folder)
        except OSError as error:
            raise InputError(f"{command[0]} cannot be started.", why=str(error), remedy=REMEDY) from error
        stopped = threading.Event()

        def watch() -> None:
            while process.poll() is None and not stopped.wait(0.2):
                if hooks.should_stop():
                    process.terminate()
                    return

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith("{"):
                    _pass_on(json.loads(line), hooks)
            process.wait()
        finally:
            stopped.set()
            process.kill()
            process.wait()
            process.stdout.close()
            watching.join()
    if hooks.should_stop():
        raise InterruptedStageError("Unsloth's training was stopped.", remedy="Run it again: it begins anew.")
    if process.returncode or not (folder / "result.json").exists():
        last = (folder / "stderr.txt").read_text().strip().splitlines()[-1:] or ["it said nothing"]
        raise FlenwheelError(
            "Unsloth's training failed.", why=last[0][:300], remedy=f"All it said is in {folder / 'stderr.txt'}."
        )


def _pass_on(told: dict[str, Any], hooks: TrainHooks) -> None:
    if "loading" in told:
        hooks.loading(str(told["loading"]))
    elif "step" in told:
        hooks.on_step(int(told["step"]), float(told["loss"]))


def _lora_of(folder: Path, model: VlModel, job: VlTrainJob, told: Mapping[str, Any]) -> bytes:
    """The file that PEFT wrote as one of ours: the scale in B. Raises FlenwheelError for an adapter outside of the language layers."""
    described = json.loads((folder / "adapter_config.json").read_text())
    scale = float(described["lora_alpha"]) / float(described["r"])
    tensors = read_tensors(folder / "adapter_model.safetensors")[0]
    ranks: dict[str, int] = {}
    made: dict[str, torch.Tensor] = {}
    dtype = file_dtype(job.recipe.lora)
    for name, tensor in tensors.items():
        plain = name.removeprefix(PEFT_PREFIX)
        module = re.sub(r"\.lora_[AB]\.weight$", "", plain)
        if ADAPTED.fullmatch(module) is None:
            raise FlenwheelError("Unsloth put an adapter where none may sit.", why=f"{module} is no language layer.")
        if ".lora_A." in plain:
            ranks[module] = len(tensor)
        made[PEFT_PREFIX + plain] = (tensor.float() * (scale if ".lora_B." in plain else 1.0)).to(dtype)
    if set(ranks) != set(model.geometry.linears):
        raise FlenwheelError(
            "Unsloth left language layers without an adapter.",
            why=f"{len(ranks)} of {len(model.geometry.linears)} have one.",
        )
    facts = ui_facts(
        UI_NAMES[model.geometry.model_class],
        name=job.name,
        base=model.reference,
        rank=Counter(ranks.values()).most_common(1)[0][0],
        steps=job.recipe.steps,
        images=len(job.lessons),
    )
    facts |= {
        "modelspec.prediction_type": "next_token",
        "flenwheel.request": job.run,
        "flenwheel.base": model.reference,
        "flenwheel.eyes": str(told["eyes"]),
        "flenwheel.backend": f"unsloth {told['versions']['unsloth']}",
    }
    return lora_file_bytes(made, ranks, facts, prefix=PEFT_PREFIX)


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[VlTrainJob, TrainHooks], VlTrained]:
    """What trains a LoRA on the model in `folder`. Raises InputError where Unsloth is not set up, before anything loads."""
    python = require_unsloth(settings)
    return partial(_train_with, VlModel.find(folder, reference, settings), python)


def _train_with(model: VlModel, python: Path, job: VlTrainJob, hooks: TrainHooks) -> VlTrained:
    return train_lora(model, job, hooks, python)
