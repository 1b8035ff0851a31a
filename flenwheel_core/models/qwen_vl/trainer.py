"""Training a LoRA on a Qwen-VL's language layers: see, put lessons into tokens, load, train, write the file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from flenwheel_core.adapters.lora_file import UiNames, file_dtype, lora_bytes, ui_facts
from flenwheel_core.adapters.peft_adapter import AdaptedTransformer, adapter_scales
from flenwheel_core.adapters.targets import lora_ranks
from flenwheel_core.base.errors import InputError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.determinism import deterministic
from flenwheel_core.engine.graphs import MOST_GRAPHS, Recorder, records
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.optimizers import require_optimizer
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.trackers import require_trackers
from flenwheel_core.engine.vl_job import VlTrained, VlTrainJob
from flenwheel_core.memory.card import multiplies_fp8
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.model_folder import ModelFolder
from flenwheel_core.models.qwen_vl.captioner import question_for
from flenwheel_core.models.qwen_vl.eyes import Eyes, open_processor
from flenwheel_core.models.qwen_vl.geometry import TARGETS, VlGeometry, geometry_of, require_language_only
from flenwheel_core.models.qwen_vl.language import FastLanguage, load_embeddings
from flenwheel_core.models.qwen_vl.task import VlTask
from flenwheel_core.models.qwen_vl.texts import VlExample, example_of, shapes_of
from flenwheel_core.models.qwen_vl.training_memory import VlLoad, VlPlan, choose_plan
from flenwheel_core.models.qwen_vl.wearing import PEFT_PREFIX
from flenwheel_core.models.qwen_vl.weights import VlSource
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe
from flenwheel_core.transformer.adapted import start_matrices, with_lora
from flenwheel_core.transformer.plan import AdapterPlan, FastPlan

UI_NAMES = {
    "Qwen2_5_VLForConditionalGeneration": UiNames("qwen2.5-vl/lora", "qwen2_5_vl", "peft.lora"),
    "Qwen3VLForConditionalGeneration": UiNames("qwen3-vl/lora", "qwen3_vl", "peft.lora"),
}


@dataclass(frozen=True)
class VlModel(ModelFolder):
    """A Qwen-VL folder, and where it runs."""

    @property
    def geometry(self) -> VlGeometry:
        return geometry_of(self.folder)

    @property
    def room(self) -> CardRoom | None:
        """What may be used of the card; None on a CPU."""
        return None if self.budget_gib is None else CardRoom(self.budget_gib, multiplies_fp8(self.device))


def train_lora(model: VlModel, job: VlTrainJob, hooks: TrainHooks, cache: TensorCache) -> VlTrained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    Raises InputError or RecipeError before anything loads, ResourceError before the language model does, InterruptedStageError after
    saving when told to stop.
    """
    check_job(job)
    with deterministic(wanted=job.recipe.deterministic and model.device.type == "cuda"):
        return _train(model, job, hooks, cache)


def _train(model: VlModel, job: VlTrainJob, hooks: TrainHooks, cache: TensorCache) -> VlTrained:
    geometry, recipe = model.geometry, job.recipe
    ranks = ranks_of(geometry, recipe.lora)
    hooks.loading("pictures")
    eyes = Eyes(
        model.folder,
        geometry,
        open_processor(model.folder, geometry, job.most_pixels),
        model.device,
        model.dtype,
        cache,
    )
    examples = examples_of(eyes, job)
    hooks.note(f"{eyes.looked} pictures were looked at, the features of all others were kept")
    plan = plan_training(model, geometry, examples, recipe, ranks, memory_level=job.memory_level)
    if plan is not None:
        hooks.note(f"memory plan: {plan.describe(geometry)}")
    hooks.loading("language model")
    adapted, language = adapt(model, geometry, recipe, plan, ranks, seed=job.seed)
    hooks.note(language.plan.kernel_line(model.device))
    recorder = start_recorder(language, recipe, hooks.note, shapes=len(set(shapes_of(examples))))
    task = VlTask(language, recipe, examples, seed=job.seed, recorder=recorder)
    outcome = run_job(task, job, hooks)
    facts = ui_facts(
        UI_NAMES[geometry.model_class],
        name=job.name,
        base=model.reference,
        rank=recipe.lora.rank,
        steps=recipe.steps,
        images=len(examples),
    )
    facts |= {
        "modelspec.prediction_type": "next_token",
        "flenwheel.request": job.run,
        "flenwheel.base": model.reference,
        "flenwheel.eyes": eyes.digest,
    }
    lora = lora_bytes(outcome.weights, adapted, facts, dtype=file_dtype(recipe.lora), prefix=PEFT_PREFIX)
    return VlTrained(lora, outcome.losses, eyes.digest)


def check_job(job: VlTrainJob) -> None:
    """Raises InputError or RecipeError for a job that could not be trained, before anything loads."""
    recipe = job.recipe
    if len(job.lessons) < recipe.min_images:
        raise InputError(
            f"There are only {len(job.lessons)} lessons to learn from.",
            why=f"train.min_images asks for {recipe.min_images}.",
            remedy="Give more, or lower train.min_images.",
        )
    blank = sum(not lesson.answer.strip() for lesson in job.lessons)
    if blank:
        raise InputError(
            f"{blank} of {len(job.lessons)} lessons have no answer.", remedy="Write them, or leave them out."
        )
    if recipe.lora.dora or recipe.lora.dropout:
        raise RecipeError(
            "A vision-language model's LoRA has neither dora nor dropout here.",
            why="its layers are fused.",
            remedy="Leave lora.dora and lora.dropout as they are.",
        )
    if recipe.processes > 1:
        raise RecipeError("A vision-language model is trained on one card.", remedy="Set gpus = 1 and hosts = 1.")
    require_optimizer(recipe.optimizer)
    require_trackers(recipe.trackers)


def ranks_of(geometry: VlGeometry, recipe: LoraRecipe) -> dict[str, int]:
    """The rank of every linear that gets an adapter. Raises RecipeError for any outside of the language layers."""
    tower = geometry.empty_tower()
    others = [f"model.visual.{name}" for name, part in tower.named_modules() if isinstance(part, torch.nn.Linear)]
    ranks = lora_ranks([*geometry.linears, *others, "lm_head"], recipe, TARGETS)
    require_language_only(list(ranks))
    return ranks


def examples_of(eyes: Eyes, job: VlTrainJob) -> list[VlExample]:
    """The lessons as tokens; each picture is looked at once, and its features are kept by content."""
    with eyes.opened():
        return [
            example_of(
                eyes.processor,
                eyes.geometry,
                lesson.question or question_for(eyes.processor),
                lesson.answer,
                eyes.see([load() for load in lesson.pictures]),
                weight=lesson.weight,
            )
            for lesson in job.lessons
        ]


def plan_training(
    model: VlModel,
    geometry: VlGeometry,
    examples: Sequence[VlExample],
    recipe: TrainingRecipe,
    ranks: Mapping[str, int],
    *,
    memory_level: int = 0,
) -> VlPlan | None:
    """How the largest batch fits the card; None on a CPU. Raises ResourceError if it cannot."""
    if model.room is None:
        return None
    shapes = set(shapes_of(examples))
    load = VlLoad(
        tokens=recipe.batch_size * max(shape.tokens for shape in shapes),
        answer_tokens=recipe.batch_size * max(shape.answer for shape in shapes),
        rank=recipe.lora.rank,
        adapter_weights=adapter_weights(geometry, ranks),
        optimizer=recipe.optimizer,
    )
    return choose_plan(geometry, load, model.room, recipe.weight_format, memory_level=memory_level)


def adapter_weights(geometry: VlGeometry, ranks: Mapping[str, int]) -> int:
    """How many weights an adapter of these ranks has."""
    return sum(rank * sum(geometry.linears[name]) for name, rank in ranks.items())


def adapt(
    model: VlModel,
    geometry: VlGeometry,
    recipe: TrainingRecipe,
    plan: VlPlan | None,
    ranks: Mapping[str, int],
    *,
    seed: int,
) -> tuple[AdaptedTransformer, FastLanguage]:
    """The language model with a new adapter."""
    scales = adapter_scales(ranks, recipe.lora)
    compiles = model.device.type == "cuda" and not recipe.deterministic if recipe.compile is None else recipe.compile
    if plan is None:
        fast = FastPlan(compile=compiles, cudnn=False)
    else:
        fast = FastPlan(storage=plan.storage, recompute=(plan.recompute,), compile=compiles, cudnn=False)
    language = load_language(model.folder, geometry, model.device, model.dtype, fast, AdapterPlan(ranks, scales))
    return start_matrices(with_lora(language, ranks, scales), seed=seed), language


def load_language(
    folder: Path,
    geometry: VlGeometry,
    device: torch.device,
    dtype: torch.dtype,
    plan: FastPlan,
    adapters: AdapterPlan,
) -> FastLanguage:
    """The language model of a folder; its table of embeddings stays on the CPU, where texts are put together."""
    embeddings = load_embeddings(VlSource(folder, torch.device("cpu"), dtype))
    return FastLanguage(geometry, VlSource(folder, device, dtype), plan, adapters, embeddings=embeddings)


def start_recorder(
    language: FastLanguage, recipe: TrainingRecipe, note: Callable[[str], None], *, shapes: int
) -> Recorder | None:
    """What runs steps as CUDA graphs, where that is possible."""
    if language.device.type != "cuda" or not records(recipe, compiled=language.plan.compile):
        return None
    return Recorder(list(language.lora.values()), note, shapes=min(shapes, MOST_GRAPHS + 1))


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[VlTrainJob, TrainHooks], VlTrained]:
    """What trains a LoRA on the model in `folder`."""
    model = VlModel.find(folder, reference, settings)
    return partial(_train_with, model, TensorCache(settings.scratch / "cache" / "qwen_vl"))


def _train_with(model: VlModel, cache: TensorCache, job: VlTrainJob, hooks: TrainHooks) -> VlTrained:
    return train_lora(model, job, hooks, cache)
