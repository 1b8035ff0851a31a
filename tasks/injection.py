"""The small steps of an injection: its requests, with every model pinned, what becomes known of it, and its page."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import ValidationError

from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import slugify
from flenwheel_core.base.names import CHARACTER
from flenwheel_core.base.progress import hearing
from flenwheel_core.base.settings import Settings
from flenwheel_core.library.injections import Injections
from flenwheel_core.plans.injection import character_training, preview
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.reports.injection_report import injection_page
from flenwheel_core.requests.inject import InjectRequest, InjectResult, InjectTrainRequest, InjectTrainResult
from tasks.open_turn import open_store
from tasks.progress_artifact import say


@task(name="plan", task_run_name="plan head with {character}", cache_policy=NO_CACHE, persist_result=False)
def plan_head(character: str, epochs: float) -> InjectTrainRequest:
    """A head from this character and all others of the workspace; captions of sources describe nobody, so pictures teach it.

    Raises InputError for epochs that nothing can be trained in.
    """
    CHARACTER.check(character)
    try:
        learning = LearningRecipe(epochs=epochs, stages=("flow",))
    except ValidationError as error:
        raise InputError(
            f"A head cannot be trained in {epochs:g} epochs.",
            why=f"{error.errors()[0]['msg']}.",
            remedy="Choose another number, such as 3.",
        ) from error
    with hearing(say):
        return character_training(character, open_store(), Settings(), HeadRecipe(), learning)


@task(name="plan", task_run_name="plan preview of {character}", cache_policy=NO_CACHE, persist_result=False)
def plan_preview(character: str, alphas: list[float], seeds: list[int]) -> InjectRequest:
    """The preview of a character with the newest head for its recipe's models."""
    CHARACTER.check(character)
    with hearing(say):
        return preview(character, open_store(), Settings(), alphas=alphas, seeds=seeds)


@task(name="keep head", cache_policy=NO_CACHE, persist_result=False)
def keep_head(request: InjectTrainRequest, result: InjectTrainResult) -> None:
    """Makes a trained head known."""
    Injections(open_store()).add_head(request, result)


@task(name="report", task_run_name="report preview of {character}", cache_policy=NO_CACHE, persist_result=False)
def publish_preview(character: str, request: InjectRequest, result: InjectResult) -> None:
    """Puts the preview on the character's page in the studio, and publishes its figures."""
    Injections(open_store()).add_preview(character, request)
    create_markdown_artifact(
        injection_page(character, result),
        key=slugify(f"injection-{character}"),
        description=f"{character} as photos show it, before any LoRA",
    )
