"""A turn with the small models of further families: klein as base and editor, Z-Image as base. How the pictures look is no matter."""

import threading
from pathlib import Path
from typing import cast

import pytest

from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.images.folder import find_sources
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.models.pinning import pin_recipe
from flenwheel_core.nano.demo import write_sources
from flenwheel_core.plans.source_files import keep_files
from flenwheel_core.plans.subjects import plan_of, usable_recipe
from flenwheel_core.recipes.model import Recipe
from flenwheel_core.reports.turn_report import TurnFacts
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.stage import Stage
from flenwheel_core.runner.worker import run_stage
from flenwheel_core.store import Store
from flows.flywheel1 import run_turn
from flows.turn import Turn
from flows.turn_runner import Request, Result


class Runner:
    """The turn's stages in this process; a person who takes what screening did not fail."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.steps: list[str] = []
        self.asked: dict[str, StageRequest] = {}
        self.made: dict[str, StageResult] = {}

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        self.steps.append(label.partition(" ")[0])
        self.asked[stage.name] = request
        any_stage = cast("Stage[StageRequest, StageResult]", stage)
        progress = Progress(stage.name, lambda event: None)
        result = run_stage(any_stage, request, self.settings, progress, memory_level=0, stop=threading.Event())
        self.made[stage.name] = result
        return cast("Result", result)

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        reviews.open(session)
        return reviews.close(session.gate, "approve", "take_passed", override_minimum=True, reviewer="ana")

    def turn_report(self, facts: TurnFacts) -> str:
        return "# Turn"


def small(recipe: Recipe) -> Recipe:
    """Two steps of everything, and a screening that lets noise pass."""
    train = recipe.train.model_copy(update={"steps": 2, "min_epochs": None, "warmup_steps": 0, "batch_size": 2})
    train = train.model_copy(update={"sampling": train.sampling.model_copy(update={"every_steps": 0})})

    def fewer(part: str, **more: int) -> object:
        table = getattr(recipe, part)
        return table.model_copy(update={"sampler": table.sampler.model_copy(update={"steps": 2}), **more})

    lenient = {
        "identity_threshold": 1.9,
        "unsure_above": 2.0,
        "blurred_fail_below": 0.0,
        "blurred_unsure_below": 0.0,
        "spoiled_unsure_above": 1.0,
        "check_labels": False,
        "duplicate_similarity": 1.0,
    }
    return recipe.model_copy(
        update={
            "train": train,
            "enrich": fewer("enrich", edits_per_source=1, target_images=2),
            "generate": fewer("generate", seeds_per_prompt=1, target_images=2),
            "screening": recipe.screening.model_copy(update=lenient),
            "benchmark": recipe.benchmark.model_copy(update={"seeds_per_cell": 1, "bleed_pictures": 1}),
            "gates": recipe.gates.model_copy(update={"minimum_enriched": 1, "minimum_pristine": 1}),
        }
    )


@pytest.mark.slow
@pytest.mark.usefixtures("siblings")
@pytest.mark.parametrize(
    ("name", "architecture"), [("nano_klein", "flux-2-klein/lora"), ("nano_zimage", "z-image/lora")]
)
def test_a_turn_runs_with_the_sibling(tmp_path: Path, name: str, architecture: str) -> None:
    settings = Settings(workspace=tmp_path, gpu="cpu", threads=1)
    store = Store(settings.store_url)
    write_sources(tmp_path / "sources", 1_000_003, trigger="ohwx_mira", class_word="person")
    library = Library(store)
    mira = Character(name="mira", trigger="ohwx_mira", class_word="person", kind="subject", recipe=name)
    library.create_character(mira)
    library.add_sources("mira", keep_files(store, find_sources(tmp_path / "sources")).files)
    recipe = small(pin_recipe(usable_recipe(name, "subject"), settings, plan_of("subject").models))
    assert recipe.models.base.startswith(f"{name}@")
    assert recipe.models.editor is not None and recipe.models.editor.startswith(
        "nano_klein@" if name == "nano_klein" else "nano@"
    )
    opened = library.open_turn("mira", "run-1", store.put_blob(recipe.to_bytes()))
    turn = Turn(store, mira, recipe, opened.number, "run-1", "mira-t1", "turns/mira/0001")

    runner = Runner(settings)
    outcome = run_turn(turn, runner)

    assert outcome.startswith(("promoted", "kept"))
    assert {"ingest", "enrich", "train", "generate", "benchmark"} <= set(runner.steps)
    trained = runner.made["train"]
    assert isinstance(trained, TrainResult) and isinstance(runner.asked["train"], TrainRequest)
    assert trained.lora.base_model == recipe.models.base
    assert architecture.encode() in store.get_blob(trained.lora.digest)[:8192]
