"""The flows carried out without a server: every arm goes through the flow's own steps, changed only as it says."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from benchmarks.quality.nano_editor_turn import editor_turn
from benchmarks.quality.nano_flywheels import FIRST_SEED, smaller
from benchmarks.quality.nano_turn import (
    ARMS,
    NanoRunner,
    World,
    add_character,
    nano_recipe,
    open_turn,
    open_world,
    run_turn,
)
from flenwheel_core.gates.kinds import ENRICHED, SYNTHETIC
from flenwheel_core.library.characters import Library
from flenwheel_core.nano.reviewer import review_gate
from flenwheel_core.requests.train import TrainRequest
from flows.flywheel1 import run_turn as run_flywheel1
from tests.kit.shared_results import share_results

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arms differ in what they ask for: what two of them ask for is made once."""
    return tmp_path_factory.mktemp("results")


def world(folder: Path, results: Path, arm: str) -> World:
    recipe = smaller(nano_recipe(4, 6, 4), images=4, card_seeds=1)
    prior = recipe.train.prior.model_copy(update={"images": 1})
    few = {"min_epochs": None, "warmup_steps": 1, "min_images": 1}  # a larger pool would ask for hundreds of steps
    train = recipe.train.model_copy(update={**few, "prior": prior})
    gates = recipe.gates.model_copy(update={"minimum_enriched": 40, "minimum_pristine": 40})
    compared = {"minimum_triplets": 1, "compared_edits": 2, "compared_seeds": 1}
    editor = recipe.editor.model_copy(update={"train": recipe.editor.train.model_copy(update=few), **compared})
    # How the pictures look is no matter here.
    quick = {"sampler": recipe.generate.sampler.model_copy(update={"steps": 2})}
    generate, enrich = (one.model_copy(update=quick) for one in (recipe.generate, recipe.enrich))
    changed = recipe.model_copy(
        update={"train": train, "gates": gates, "editor": editor, "generate": generate, "enrich": enrich}
    )
    opened = open_world(folder, ARMS[arm], changed, "nora")
    opened.settings.root.mkdir(parents=True)
    share_results(opened.settings, results)
    add_character(opened, FIRST_SEED)
    return opened


def test_a_turn_of_both_flywheels(tmp_path: Path, results: Path) -> None:
    here = world(tmp_path, results, "both_flywheels")
    outcome = run_turn(here, 1)
    assert outcome.edits == outcome.good + outcome.corrected + outcome.rejected == 6
    assert outcome.pass_rate is not None and outcome.champion_pass_rate is not None
    ended = Library(here.store).ended_turns("nora")
    assert [turn.outcome for turn in ended] in (["promoted"], ["kept"])
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        learned = editor_turn(here, 1, processes, shares=2)
    assert learned is not None and learned.lessons > 0
    assert len(learned.score.challenger.edits) == len(learned.score.champion.edits) == 2


def test_an_arm_without_real_pictures_trains_on_what_its_lora_drew(tmp_path: Path, results: Path) -> None:
    here = world(tmp_path, results, "own_output_only")
    turn = open_turn(here, 1)
    runner = NanoRunner(here, turn)
    run_flywheel1(turn, runner)
    trained = runner.asked["train"]
    assert isinstance(trained, TrainRequest) and trained.name.endswith("challenger")
    drawn = turn.reviews.images(turn.reviews.get(runner.closed[SYNTHETIC.name].gate))
    assert {item.image for item in trained.items} <= {record.digest for record in drawn}
    promoted = Library(here.store).champion("nora")
    assert promoted is not None and promoted.lora.name == trained.name, "a benchmark that does not decide promotes"


def test_an_arm_without_flywheel_1_ends_after_gate_a_and_edits_alike_every_turn(tmp_path: Path, results: Path) -> None:
    here = world(tmp_path, results, "editor_only")
    first, second = run_turn(here, 1), run_turn(here, 2)
    assert first.edits == second.edits == 6 and first.pass_rate is None
    assert Library(here.store).champion("nora") is None


def test_an_arm_of_sources_alone_learns_from_nothing_else(tmp_path: Path, results: Path) -> None:
    here = world(tmp_path, results, "sources_only")
    turn = open_turn(here, 1)
    runner = NanoRunner(here, turn)
    run_flywheel1(turn, runner)
    trained = runner.asked["train"]
    assert isinstance(trained, TrainRequest) and "enrich" not in runner.asked and "generate" not in runner.asked
    assert {item.image for item in trained.items} <= {entry.image.digest for entry in turn.pool() if entry.real}


def test_a_reviewer_who_errs_turns_a_tenth_of_the_verdicts_round(tmp_path: Path, results: Path) -> None:
    right, wrong = (world(tmp_path / name, results, name) for name in ("both_flywheels", "erring_reviewer"))
    judged = []
    for here, errors in ((right, 0.0), (wrong, 0.5)):
        turn = open_turn(here, 1)
        runner = NanoRunner(here, turn)
        run_flywheel1(turn, runner)
        gate = runner.closed[ENRICHED.name].gate
        again = review_gate(here.store, here.settings, gate, here.truth(), errors=errors)
        judged.append({one.image: one.verdict for one in again})
    assert judged[0].keys() == judged[1].keys(), "the same edits"
    assert 0 < sum(judged[0][image] is not judged[1][image] for image in judged[0]) < len(judged[0])
