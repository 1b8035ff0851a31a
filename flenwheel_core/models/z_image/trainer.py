"""Training a character LoRA on Z-Image: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL.Image import Image

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import Trained, TrainHooks, TrainJob
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.team import Alone, Team
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.z_image.adapter import adapt, plan_training, start_recorder
from flenwheel_core.models.z_image.drawing import DrawingParts, draw_picture
from flenwheel_core.models.z_image.encoding import encode_pictures, encode_prompts
from flenwheel_core.models.z_image.geometry import NO_PROMPT, PIXELS_PER_TOKEN
from flenwheel_core.models.z_image.loading import ZImageModel
from flenwheel_core.models.z_image.names import UI_NAMES
from flenwheel_core.models.z_image.task import ZImageTask
from flenwheel_core.transformer.character_items import CharacterItems
from flenwheel_core.transformer.character_run import check_training, finished, repeatably, samples_of, texts_of
from flenwheel_core.transformer.plan import FastPlan


def train_lora(model: ZImageModel, job: TrainJob, hooks: TrainHooks, cache: TensorCache) -> Trained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    In a team every process runs this and gets the same outcome. Raises InputError, RecipeError or ResourceError before anything loads,
    InterruptedStageError after saving when told to stop.
    """
    check_training(job)
    plan = plan_training(model, job.recipe, hooks.note, tighter=job.memory_level)
    return repeatably(job, model.device, lambda: _train(model, job, plan, hooks, cache, hooks.team or Alone()))


def _train(
    model: ZImageModel, job: TrainJob, plan: FastPlan | None, hooks: TrainHooks, cache: TensorCache, team: Team
) -> Trained:
    recipe = job.recipe
    class_texts, texts = texts_of(job, team, NO_PROMPT)
    if class_texts:
        model.hash_ahead("transformer")  # names the prior's pictures
    hooks.loading("text encoder")
    storage = model.encoder_format(recipe.text_encoder_format)
    captions = encode_prompts(model, texts, tokens=recipe.text_tokens, cache=cache, storage=storage)
    pictures = CharacterItems(job, hooks, captions, partial(encode_pictures, model, cache=cache), cache)
    items = pictures.own(PIXELS_PER_TOKEN)
    hooks.loading("transformer")
    adapted = adapt(model, recipe, plan, seed=job.seed)
    transformer = adapted.transformer
    parts = DrawingParts(transformer, model.load_scheduler(), model.load_vae(), model.device)

    def draw(text: str, sampler: Sampler, seed: int) -> Image:
        negative = captions[NO_PROMPT] if sampler.true_cfg > 1 else None
        return draw_picture(parts, captions[text], negative, sampler, seed)

    digest = partial(model.revision, "transformer")
    prior = pictures.prior(items, class_texts, adapted, draw, "z-image prior", digest, true_cfg=job.sampler.true_cfg)
    if team.prepares:
        team.wait()
    transformer.train()

    task = ZImageTask(
        adapted,
        recipe,
        items,
        prior,
        captions[NO_PROMPT],
        scheduler=parts.scheduler,
        seed=job.seed,
        sample=samples_of(job, hooks, adapted, draw),
        rank=team.rank,
        world=team.size,
        recorder=start_recorder(model, recipe, plan, adapted, hooks.note),
    )
    outcome = run_job(task, job, hooks)
    return finished(job, adapted, outcome, UI_NAMES, model.reference)


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[TrainJob, TrainHooks], Trained]:
    """What trains a LoRA on the model in `folder`."""
    model = ZImageModel.find(folder, reference, settings)
    cache = TensorCache(settings.scratch / "cache" / "z_image")
    return lambda job, hooks: train_lora(model, job, hooks, cache)
