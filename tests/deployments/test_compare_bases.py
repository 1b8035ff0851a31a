"""A comparison of bases as a run of the workspace: begun from the command line, planned with real models, its table a page of the run.

The stages are stand-ins.
"""

from pathlib import Path

import pytest

from benchmarks.kit.workspace import Running
from flenwheel_core.library.characters import Library
from flenwheel_core.plans.base_comparison import BaseComparison
from tests.kit.bases_world import short_recipe, with_pool
from tests.kit.stage_world import HERO


@pytest.mark.slow
def test_a_scheduled_comparison_holds_the_card_and_publishes_its_table(running: Running, tmp_path: Path) -> None:
    with_pool(running.settings)
    recipes = [short_recipe(tmp_path, "small"), short_recipe(tmp_path, "large", 4)]
    said = running.cli("compare-bases", HERO.name, *recipes, "--card", recipes[0], "--schedule")
    assert said.returncode == 0, said.stderr
    run = said.stdout.split("(")[1].split(")")[0]
    ended = running.wait_state(run, "COMPLETED", "FAILED", "CRASHED", seconds=400)
    assert ended.state is not None and ended.state.type == "COMPLETED", (ended.state, running.worker_log())
    assert "passes most often" in (ended.state.message or "")
    pages = running.api.call("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
    table = next(page["data"] for page in pages if page["key"] == f"bases-{HERO.name}")  # type: ignore[index, union-attr]
    assert "| small" in str(table) and "| large" in str(table)
    asked = running.store.get_document(f"runs/{run}/bases", BaseComparison)
    assert asked is not None and [trial.recipe for trial in asked.trials] == ["small", "large"]
    on_card = [line for line in running.stage_runs() if line.event == "finished" and line.flow_run == run]
    assert [line.stage for line in on_card] == ["train", "benchmark"] * 2
    assert all(line.slot == running.settings.slot_name for line in on_card)
    assert Library(running.store).champion(HERO.name) is None
