"""One training and one benchmark a base: the same pool, card and verifier. Only the base differs, and how it is trained and drawn."""

from collections.abc import Sequence
from pathlib import Path

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError, RecipeError
from flenwheel_core.base.settings import Settings
from flenwheel_core.identity.verifiers import open_verifier, require_same_version
from flenwheel_core.library.characters import Library
from flenwheel_core.library.training_pool import TrainingPool, training_pool
from flenwheel_core.models.pinning import BENCHMARK_MODELS, TRAINING_MODELS, pin_recipe
from flenwheel_core.plans.recipe_check import recipe_problems
from flenwheel_core.plans.subjects import plan_of
from flenwheel_core.plans.training_set import training_items
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.requests.benchmark import BenchmarkRequest
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.store import Store


class BaseTrial(Document):
    """A base and what is asked of it."""

    recipe: str
    """The recipe's name."""
    training: TrainRequest
    card: BenchmarkRequest
    """Without a LoRA yet."""

    @property
    def base(self) -> str:
        """For people: without the revision, and of a folder only its last part."""
        name = self.training.base.rpartition("@")[0] or self.training.base
        return Path(name).name if name.startswith("/") else name

    def benchmark(self, trained: TrainResult) -> BenchmarkRequest:
        """The card of the LoRA that was trained."""
        return self.card.model_copy(update={"challenger": trained.lora.digest})


class BaseComparison(Document):
    """All trials of a comparison, planned at once: what it asks does not change while it runs."""

    character: str
    trials: tuple[BaseTrial, ...]


def plan_comparison(
    store: Store, settings: Settings, character: str, recipes: Sequence[str], *, card: str | None = None, seed: int = 0
) -> BaseComparison:
    """The comparison of these recipes' bases, by name or path; `card` is the recipe that all are measured with, else the character's own.

    Raises NotFoundError or InputError for a character without a pool, RecipeError for a recipe that cannot be read or could not run here,
    and as `base_trials` does: before anything is trained.
    """
    pool = training_pool(Library(store), character)
    chosen, measure = [load_recipe(name) for name in recipes], load_recipe(card or pool.character.recipe)
    check_bases(chosen, settings)
    return BaseComparison(character=character, trials=base_trials(store, pool, chosen, measure, settings, seed=seed))


def check_bases(recipes: Sequence[Recipe], settings: Settings) -> None:
    """Raises InputError for fewer than two recipes or two of one name, RecipeError for one that could not run here."""
    names = [recipe.name for recipe in recipes]
    if len(recipes) < 2:
        raise InputError("A comparison needs two recipes at least.", remedy="Name more recipes, each with its base.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"Two recipes are called {', '.join(twice)}.", remedy="Give each a name of its own.")
    for recipe in recipes:
        problems = recipe_problems(recipe, settings)
        if problems:
            raise RecipeError(f"{recipe.name} cannot run here.", why="; ".join(problems), remedy="Mend that first.")


def base_trials(
    store: Store,
    pool: TrainingPool,
    recipes: Sequence[Recipe],
    measure: Recipe,
    settings: Settings,
    *,
    seed: int,
) -> tuple[BaseTrial, ...]:
    """A trial a recipe. `measure` gives prompts, seeds, limits, verifier, reader and the share of real pictures to all of them.

    Models that are not here yet are fetched. Raises as `pin_recipe` does, and InputError for another verifier than the fingerprint's:
    the benchmark would say so after hours of training.
    """
    judge = pin_recipe(measure, settings, [use for use in BENCHMARK_MODELS if use not in TRAINING_MODELS])
    with open_verifier(judge.models.verifier, settings) as verifier:
        require_same_version(verifier, pool.fingerprint)
    who, items = pool.character.ref(), training_items(pool.entries, measure.pool.real_share)
    plan = plan_of(who.kind)
    trials = []
    for recipe in recipes:
        chosen = pin_recipe(recipe, settings, TRAINING_MODELS)
        training = TrainRequest(
            character=who,
            name=f"{who.name}-{recipe.name}",
            items=items,
            base=chosen.models.base,
            recipe=chosen.train.for_pictures(len(items)),
            seed=seed,
            sample_prompts=plan.samples(who, measure, chosen.train.sampling.prompts),
            sampler=chosen.generate.sampler,
        )
        measuring = BenchmarkRequest(
            character=who,
            base=chosen.models.base,
            challenger=None,
            lora_weight=chosen.generate.lora_weight,
            fingerprint=pool.fingerprint,
            verifier=judge.models.verifier,
            reader=judge.models.reader,
            items=plan.card(who, measure),
            screening=measure.screening,
            recipe=measure.benchmark,
            sampler=chosen.generate.sampler,
            style=plan.measure(store, who.name, measure),
        )
        trials.append(BaseTrial(recipe=chosen.name, training=training, card=measuring))
    return tuple(trials)
