"""Steps on their own: a training, a benchmark, or a comparison of bases, without a turn around it.

Nothing is promoted and the pool stays as it is.
"""

from prefect import flow
from prefect.runtime import flow_run

from flenwheel_core.base.errors import InputError, NotFoundError
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.models.pinning import BENCHMARK_MODELS, TRAINING_MODELS
from flenwheel_core.plans.base_comparison import BaseComparison
from flenwheel_core.records.provenance import Provenance
from flenwheel_core.runner.stage import BENCHMARK
from flows.comparison import compare_trials
from flows.frozen import frozen_document
from flows.start import plain_errors, start_alone
from flows.trainings import trained
from flows.turn import Turn
from flows.turn_runner import PrefectRunner
from tasks.bases import plan_bases, publish_bases
from tasks.open_turn import open_store
from tasks.progress_artifact import say
from tasks.reporting import publish_benchmark


@flow(name="benchmark", flow_run_name="{character} benchmark", persist_result=False)
@plain_errors
def benchmark_alone(
    character: str, lora: str | None = None, against: str | None = None, recipe: str | None = None
) -> str:
    """Fills the model card of a LoRA, and compares it with another one.

    Args:
        character: Name of the character.
        lora: First characters of the LoRA's digest; the champion if left empty.
        against: First characters of the digest of a LoRA to compare with; none if left empty.
        recipe: Recipe with the prompts and seeds; the character's own if left empty.
    """
    turn = start_alone(character, recipe, BENCHMARK_MODELS)
    measured = _lora(turn, lora) if lora else _champion(turn)
    champion = _lora(turn, against) if against else None
    score = PrefectRunner().stage(BENCHMARK, turn.benchmark_request(champion, measured), f"benchmark {measured.name}")
    publish_benchmark(turn.name, score)
    return score.summary()


@flow(name="training", flow_run_name="{character} training", persist_result=False)
@plain_errors
def train_alone(character: str, recipe: str | None = None) -> str:
    """Trains a LoRA on the training pool as it is now.

    Args:
        character: Name of the character.
        recipe: Recipe of the training; the character's own if left empty.
    """
    turn = start_alone(character, recipe, TRAINING_MODELS)
    return trained(turn, PrefectRunner(), "alone").summary()


@flow(name="compare-bases", flow_run_name="{character} bases", persist_result=False)
@plain_errors
def compare_bases(character: str, recipes: list[str], card: str | None = None, seed: int = 0) -> str:
    """Trains a LoRA on the character's pool for each recipe's base, and scores all on one model card.

    Args:
        character: Name of the character.
        recipes: Two or more recipes, by name or path on the worker's machine; each gives its base, and how that is trained and drawn.
        card: Recipe whose prompts, seeds, limits and verifier all are measured with; the character's own if left empty.
        seed: Seed of the trainings.
    """
    store = open_store()
    comparison = frozen_document(
        store,
        f"runs/{flow_run.id}/bases",
        BaseComparison,
        lambda: plan_bases(character, tuple(recipes), card or None, seed),
    )
    table = compare_trials(comparison, PrefectRunner(), say)
    publish_bases(character, table.lines())
    return table.verdict()


def _lora(turn: Turn, id_: str) -> LoraRecord:
    found = Provenance(turn.store).find(id_)
    if not isinstance(found, LoraRecord):
        raise InputError(f"{id_} is a picture, not a LoRA.")
    return found


def _champion(turn: Turn) -> LoraRecord:
    standing = turn.champion()
    if standing is None:
        raise NotFoundError(
            f"{turn.character.name} has no champion yet.",
            remedy="Name a LoRA by the first characters of its digest, or run a turn first.",
        )
    return standing
