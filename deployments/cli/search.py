"""The command that searches training settings for a character."""

from functools import partial

from cyclopts import App

from deployments.cli.terminal import plain_console, progress_sink
from flenwheel_core.base.progress import Sink
from flenwheel_core.base.settings import Settings
from flenwheel_core.evaluation.model_card import model_card_items
from flenwheel_core.library.characters import Library
from flenwheel_core.library.training_pool import training_pool
from flenwheel_core.models.pinning import BENCHMARK_MODELS, pin_recipe
from flenwheel_core.plans.search import SearchSpace, Trial, search
from flenwheel_core.plans.training_set import sample_prompts, training_items
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.benchmark import BenchmarkRequest
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import BENCHMARK, TRAIN
from flenwheel_core.store import Store

console = plain_console()

IDENTITY_WEIGHT = 0.01
"""Identity only decides between settings of the same first-try pass rate."""


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(search_settings, name="search")


def search_settings(character: str, *, trials: int = 6, recipe: str | None = None, seed: int = 0) -> None:
    """Try training settings on the character's pool and score each on the model card. Changes nothing.

    Each trial is a whole training and a benchmark; what was trained or scored before is reused.

    Parameters
    ----------
    character
        The character's name.
    trials
        Settings to try; the first is the recipe's own.
    recipe
        A recipe's name or path; the character's own if not given.
    seed
        Seed of the search.
    """
    settings = Settings()
    pool = training_pool(Library(Store(settings.store_url, settings.store_options)), character)
    known = pool.character
    chosen = pin_recipe(load_recipe(recipe or known.recipe), settings, BENCHMARK_MODELS)
    request = TrainRequest(
        character=known.ref(),
        name=f"{character}-search",
        items=training_items(pool.entries, chosen.pool.real_share),
        base=chosen.models.base,
        recipe=chosen.train,
        seed=seed,
        sample_prompts=sample_prompts(known.ref(), chosen, chosen.train.sampling.prompts),
        sampler=chosen.generate.sampler,
    )
    card = BenchmarkRequest(
        character=known.ref(),
        base=chosen.models.base,
        challenger=None,
        fingerprint=pool.fingerprint,
        verifier=chosen.models.verifier,
        reader=chosen.models.reader,
        items=model_card_items(known.ref(), chosen),
        screening=chosen.screening,
        recipe=chosen.benchmark,
        sampler=chosen.generate.sampler,
    )
    with progress_sink() as sink:
        found = search(
            request,
            SearchSpace(),
            trials=trials,
            seed=seed,
            train=partial(_train, settings=settings, sink=sink),
            score=partial(_score, card=card, settings=settings, sink=sink),
            on_trial=lambda trial: console.print(_line(trial)),
        )
    console.print(f"Best: {_line(found[0])}")


def _train(request: TrainRequest, *, settings: Settings, sink: Sink) -> TrainResult:
    return run_in_child(TRAIN, request, settings, sink)


def _score(trained: TrainResult, strength: float, *, card: BenchmarkRequest, settings: Settings, sink: Sink) -> float:
    request = card.model_copy(update={"challenger": trained.lora.digest, "lora_weight": strength})
    score = run_in_child(BENCHMARK, request, settings, sink).challenger
    return score.pass_rate + IDENTITY_WEIGHT * score.identity


def _line(trial: Trial) -> str:
    recipe = trial.recipe
    return (
        f"score {trial.score:.3f}: rank {recipe.lora.rank}, learning_rate {recipe.learning_rate:g}, "
        f"steps {recipe.steps}, strength {trial.strength:g}"
    )
