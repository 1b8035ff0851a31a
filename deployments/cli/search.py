"""The command that searches training settings for a character."""

from functools import partial

from cyclopts import App

from deployments.cli.terminal import plain_console, progress_sink
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.progress import Sink
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.characters import Library
from flenwheel_core.library.training_pool import training_pool
from flenwheel_core.models.pinning import BENCHMARK_MODELS, pin_recipe
from flenwheel_core.plans.search import SearchSpace, Trial, search, smallest_near_best, sweep
from flenwheel_core.plans.subjects import plan_of
from flenwheel_core.plans.sweep_check import Sweep, check_sweep, lora_choice
from flenwheel_core.plans.training_set import training_items
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.benchmark import BenchmarkRequest
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import BENCHMARK, TRAIN
from flenwheel_core.store import Store

console = plain_console()

NEAR = 0.05
"""The share of the best score that a smaller LoRA may lose to be named beside it."""
IDENTITY_WEIGHT = 0.01
"""Identity only decides between settings of the same first-try pass rate."""


def add_to(app: App) -> None:
    """Adds this command to the `flenwheel` command."""
    app.command(search_settings, name="search")


def search_settings(
    character: str,
    *,
    trials: int = 6,
    recipe: str | None = None,
    seed: int = 0,
    blocks: str | None = None,
    ranks: str | None = None,
) -> None:
    """Try training settings on the character's pool and score each on the model card. Changes nothing.

    Each trial is a whole training and a benchmark; what was trained or scored before is reused. With --blocks or --ranks every
    rank is tried on every choice of blocks, with the recipe's own steps.

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
    blocks
        Choices of blocks, by commas: presets such as all,single_late, ranges such as single:19-37, or several joined by +.
    ranks
        Ranks, by commas, such as 4,16,32; the recipe's own if not given.
    """
    swept = _swept(blocks, ranks)
    settings = Settings()
    store = Store(settings.store_url, settings.store_options)
    pool = training_pool(Library(store), character)
    known = pool.character
    plan = plan_of(known.kind)
    chosen = pin_recipe(load_recipe(recipe or known.recipe), settings, BENCHMARK_MODELS)
    request = TrainRequest(
        character=known.ref(),
        name=f"{character}-search",
        items=training_items(pool.entries, chosen.pool.real_share),
        base=chosen.models.base,
        recipe=chosen.train,
        seed=seed,
        sample_prompts=plan.samples(known.ref(), chosen, chosen.train.sampling.prompts),
        sampler=chosen.generate.sampler,
    )
    card = BenchmarkRequest(
        character=known.ref(),
        base=chosen.models.base,
        challenger=None,
        fingerprint=pool.fingerprint,
        verifier=chosen.models.verifier,
        reader=chosen.models.reader,
        items=plan.card(known.ref(), chosen),
        screening=chosen.screening,
        recipe=chosen.benchmark,
        sampler=chosen.generate.sampler,
        style=plan.measure(store, character, chosen),
    )
    with progress_sink() as sink:
        train = partial(_train, settings=settings, sink=sink)
        score = partial(_score, card=card, settings=settings, sink=sink)
        if swept is None:
            found = search(
                request,
                SearchSpace(),
                trials=trials,
                seed=seed,
                train=train,
                score=score,
                on_trial=lambda trial: console.print(_line(trial)),
            )
        else:
            check_sweep(chosen, swept, settings)
            found = sweep(
                request,
                ranks=swept.ranks or (chosen.train.lora.rank,),
                blocks=swept.blocks or (chosen.train.lora.blocks,),
                train=train,
                score=score,
                on_trial=lambda trial: console.print(_swept_line(trial, store)),
            )
    if swept is None:
        console.print(f"Best: {_line(found[0])}")
        return
    small = smallest_near_best(found, lambda trial: _size(trial, store), within=NEAR)
    console.print(f"Best: {_swept_line(found[0], store)}")
    console.print(f"Smallest within {NEAR:.0%} of it: {_swept_line(small, store)}")
    console.print(f"As a recipe's default:\n{lora_choice(small.recipe.lora)}")


def _train(request: TrainRequest, *, settings: Settings, sink: Sink) -> TrainResult:
    return run_in_child(TRAIN, request, settings, sink)


def _score(trained: TrainResult, strength: float, *, card: BenchmarkRequest, settings: Settings, sink: Sink) -> float:
    request = card.model_copy(update={"challenger": trained.lora.digest, "lora_weight": strength})
    scored = run_in_child(BENCHMARK, request, settings, sink).challenger
    if scored.style is not None:  # a smaller distance is better; content that is lost counts as well
        return (scored.style.content if scored.style.content is not None else 1.0) - scored.style.distance
    return scored.pass_rate + IDENTITY_WEIGHT * scored.identity


def _line(trial: Trial) -> str:
    recipe = trial.recipe
    return (
        f"score {trial.score:.3f}: rank {recipe.lora.rank}, learning_rate {recipe.learning_rate:g}, "
        f"steps {recipe.steps}, strength {trial.strength:g}"
    )


def _swept_line(trial: Trial, store: Store) -> str:
    lora = trial.recipe.lora
    where = "+".join(lora.blocks) or "all"
    return f"score {trial.score:.3f}: rank {lora.rank} on {where}, {_size(trial, store) / 1e6:.2f} MB"


def _size(trial: Trial, store: Store) -> int:
    return len(store.get_blob(trial.trained.lora.digest))


def _swept(blocks: str | None, ranks: str | None) -> Sweep | None:
    """What --blocks and --ranks say; raises InputError for a rank that is no number."""
    if blocks is None and ranks is None:
        return None
    try:
        numbers = tuple(int(rank) for rank in ranks.split(",")) if ranks else ()
    except ValueError as error:
        raise InputError(
            f"--ranks {ranks} are no numbers.", remedy="Write them with commas: --ranks 4,16,32."
        ) from error
    if any(rank < 1 for rank in numbers):
        raise InputError(f"--ranks {ranks}: a rank is 1 at least.", remedy="Write them with commas: --ranks 4,16,32.")
    choices = tuple(tuple(part.strip() for part in one.split("+")) for one in blocks.split(",")) if blocks else ()
    return Sweep(numbers, choices)
