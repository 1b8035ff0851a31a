"""Training a character LoRA on FLUX.2 klein: encode, load, put the adapter on, train, write the file."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from PIL.Image import Image
from torch import Tensor

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import Trained, TrainHooks, TrainJob
from flenwheel_core.engine.placed_pictures import PlacedPicture
from flenwheel_core.engine.run_job import run_job
from flenwheel_core.engine.team import Alone, Team
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.flux2.adapter import adapt, start_recorder
from flenwheel_core.models.flux2.artist import NO_PROMPT
from flenwheel_core.models.flux2.drawing import Drawing, DrawingParts, draw_picture
from flenwheel_core.models.flux2.encoding import encode_pictures, encode_prompts
from flenwheel_core.models.flux2.geometry import PIXELS_PER_TOKEN, whole_size
from flenwheel_core.models.flux2.loading import Flux2Model
from flenwheel_core.models.flux2.names import UI_NAMES
from flenwheel_core.models.flux2.task import KleinTask
from flenwheel_core.models.protocols import ModelSetup
from flenwheel_core.transformer.character_items import CharacterItems
from flenwheel_core.transformer.character_run import check_training, finished, repeatably, samples_of, texts_of

DISTILLED = "this model is distilled for few steps: LoRAs are better trained on its base model, and worn here"


def train_lora(model: Flux2Model, job: TrainJob, hooks: TrainHooks, cache: TensorCache) -> Trained:
    """Train from the newest checkpoint in the job's folder, or from the start, and return the finished LoRA.

    In a team every process runs this and gets the same outcome. Raises InputError or RecipeError before anything loads,
    InterruptedStageError after saving when told to stop.
    """
    check_training(job)
    if model.is_distilled:
        hooks.note(DISTILLED)
    return repeatably(job, model.device, lambda: _train(model, job, hooks, cache, hooks.team or Alone()))


def _train(model: Flux2Model, job: TrainJob, hooks: TrainHooks, cache: TensorCache, team: Team) -> Trained:
    recipe = job.recipe
    class_texts, texts = texts_of(job, team, NO_PROMPT)
    if class_texts:
        model.hash_ahead("transformer")  # names the prior's pictures
    hooks.loading("text encoder")
    storage = model.encoder_format(recipe.text_encoder_format)
    captions = encode_prompts(model, texts, tokens=recipe.text_tokens, cache=cache, storage=storage)
    pictures = CharacterItems(job, hooks, captions, partial(_latents, model, cache), cache)
    items = pictures.own(PIXELS_PER_TOKEN)
    hooks.loading("transformer")
    setup = ModelSetup(memory_level=job.memory_level, note=hooks.note)
    tokens = recipe.batch_size * ((recipe.resolution // PIXELS_PER_TOKEN) ** 2 + recipe.text_tokens)
    adapted = adapt(model, recipe, tokens=tokens, seed=job.seed, setup=setup)
    transformer = adapted.transformer
    draw = partial(_draw, model, DrawingParts(transformer, model.load_scheduler(), model.load_vae()), captions)
    digest = partial(model.revision, "transformer")
    prior = pictures.prior(items, class_texts, adapted, draw, "flux2 prior", digest, true_cfg=job.sampler.true_cfg)
    if team.prepares:
        team.wait()
    transformer.train()

    task = KleinTask(
        adapted,
        recipe,
        items,
        prior,
        captions[NO_PROMPT],
        seed=job.seed,
        sample=samples_of(job, hooks, adapted, draw),
        rank=team.rank,
        world=team.size,
        recorder=start_recorder(model, recipe, adapted, setup),
    )
    outcome = run_job(task, job, hooks)
    return finished(job, adapted, outcome, UI_NAMES, model.reference)


def _latents(model: Flux2Model, cache: TensorCache, pictures: Sequence[PlacedPicture]) -> list[Tensor]:
    return [latents.tokens for latents in encode_pictures(model, pictures, cache=cache)]


def _draw(
    model: Flux2Model,
    parts: DrawingParts,
    captions: Mapping[str, Tensor],
    text: str,
    sampler: Sampler,
    seed: int,
) -> Image:
    guided = sampler.true_cfg > 1 and not model.is_distilled
    drawing = Drawing(
        size=whole_size((sampler.width, sampler.height)),
        seed=seed,
        steps=sampler.steps,
        prompt=captions[text],
        negative=captions[NO_PROMPT] if guided else None,
        true_cfg=sampler.true_cfg,
    )
    return draw_picture(parts, drawing, model.device)


def open_trainer(folder: Path, reference: str, settings: Settings) -> Callable[[TrainJob, TrainHooks], Trained]:
    """What trains a LoRA on the model in `folder`."""
    model = Flux2Model.find(folder, reference, settings)
    cache = TensorCache(settings.scratch / "cache" / "flux2")
    return lambda job, hooks: train_lora(model, job, hooks, cache)
