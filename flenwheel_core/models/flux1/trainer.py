"""Training a FLUX LoRA: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flenwheel_core.adapters.peft_adapter import AdaptedTransformer
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.cores import cores_for
from flenwheel_core.engine.graphs import Recorder, records
from flenwheel_core.engine.job import Trained, TrainHooks, TrainJob
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.team import Alone, Team
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.kernels.attention import learn_through_other_modules
from flenwheel_core.models.flux1.adapter import UI_NAMES, put_on, start_fast
from flenwheel_core.models.flux1.drawing import OwnPipelines, drawing_pipeline
from flenwheel_core.models.flux1.drawing import draw as draw_picture
from flenwheel_core.models.flux1.encoding import Caption, encode_captions, encode_pictures
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.memory import ChosenPlan, plan_training
from flenwheel_core.models.flux1.packing import PIXELS_PER_TOKEN
from flenwheel_core.models.flux1.task import FluxTask
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.transformer.character_items import CharacterItems
from flenwheel_core.transformer.character_run import Draw, check_training, finished, repeatably, samples_of, texts_of
from flenwheel_core.transformer.plan import OTHER_MODULES

if TYPE_CHECKING:
    from diffusers import FluxPipeline


def train_lora(model: FluxModel, job: TrainJob, hooks: TrainHooks, cache: TensorCache) -> Trained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    In a team every process runs this and gets the same outcome. Raises InputError or RecipeError before anything loads,
    InterruptedStageError after saving when told to stop.
    """
    check_training(job)
    return repeatably(job, model.device, lambda: _train(model, job, hooks, cache, hooks.team or Alone()))


def _train(model: FluxModel, job: TrainJob, hooks: TrainHooks, cache: TensorCache, team: Team) -> Trained:
    from diffusers import FluxPipeline

    recipe = job.recipe
    chosen = plan_training(model, recipe, tighter=job.memory_level)
    if chosen is not None:
        hooks.note(f"memory plan: {chosen.text}")
    class_texts, texts = texts_of(job, team, "")
    if class_texts:
        model.hash_ahead("transformer")  # names the prior's pictures
    hooks.loading("text encoders")
    storage = model.encoder_format(recipe.text_encoder_format)
    captions = encode_captions(model, texts, tokens=recipe.text_tokens, cache=cache, storage=storage)
    pictures = CharacterItems(job, hooks, captions, partial(encode_pictures, model, cache=cache), cache)
    items = pictures.own(PIXELS_PER_TOKEN)
    hooks.loading("transformer")
    adapted = adapt(model, recipe, chosen, seed=job.seed, note=hooks.note)
    transformer = adapted.transformer
    vae, cores = model.load_vae(), cores_for(transformer)
    draw = _draws(model, OwnPipelines(lambda: drawing_pipeline(FluxPipeline, model, transformer, vae)), captions)
    digest = partial(model.revision, "transformer")
    prior = pictures.prior(items, class_texts, adapted, draw, "flux prior", digest)
    if team.prepares:
        team.wait()
    transformer.train()

    task = FluxTask(
        adapted,
        recipe,
        items,
        prior,
        captions[""],
        seed=job.seed,
        sample=samples_of(job, hooks, adapted, draw, cores=cores),
        rank=team.rank,
        world=team.size,
        recorder=start_recorder(model, recipe, chosen, adapted, hooks.note),
        cores=cores,
    )
    outcome = run_job(task, job, hooks)
    return finished(job, adapted, outcome, UI_NAMES, model.reference)


def adapt(
    model: FluxModel,
    recipe: TrainingRecipe,
    chosen: ChosenPlan | None,
    *,
    seed: int,
    note: Callable[[str], None],
) -> AdaptedTransformer:
    """The transformer with a new adapter, the way that was chosen."""
    if chosen is not None:
        note(chosen.plan.kernel_line(model.device))
        return start_fast(model, chosen.plan, recipe.lora, seed=seed)
    adapted = put_on(model.load_transformer(), recipe.lora, seed=seed)
    if model.device.type == "cuda":
        note(OTHER_MODULES)
        note("this adapter trains through diffusers' own modules: slower, and every block is recomputed")
        learn_through_other_modules()
        cast(Any, adapted.transformer).enable_gradient_checkpointing()
    return adapted


def start_recorder(
    model: FluxModel,
    recipe: TrainingRecipe,
    chosen: ChosenPlan | None,
    adapted: AdaptedTransformer,
    note: Callable[[str], None],
    *,
    shapes: int | None = None,
) -> Recorder | None:
    """What runs steps as CUDA graphs, where that is possible."""
    if chosen is None or model.device.type != "cuda" or not records(recipe, compiled=chosen.plan.compile):
        return None
    more = {} if shapes is None else {"shapes": shapes}
    return Recorder(list(adapted.parameters.values()), note, **more)


def _draws(model: FluxModel, pipelines: "OwnPipelines[FluxPipeline]", captions: Mapping[str, Caption]) -> Draw:
    return lambda text, sampler, seed: draw_picture(model, pipelines.own(), captions[text], sampler, seed)


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[TrainJob, TrainHooks], Trained]:
    """What trains a LoRA on the model in `folder`."""
    model = FluxModel.find(folder, reference, settings)
    cache = TensorCache(settings.scratch / "cache" / "flux")
    return lambda job, hooks: train_lora(model, job, hooks, cache)
