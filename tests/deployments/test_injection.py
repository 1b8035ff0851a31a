"""The preview of a character as a run of the workspace: on nano models, under the GPU slot; a page of the run, and of the studio."""

from pathlib import Path

import pytest

from benchmarks.kit.workspace import Running
from flenwheel_core.library.injections import Injections
from flenwheel_core.recipes.injection import HeadRecipe
from tests.kit.bases_world import short_recipe
from tests.kit.injection_world import add_blank_head, drawn_identity, photo_folder


@pytest.mark.slow
def test_a_scheduled_preview_holds_the_card_and_stands_on_the_characters_page(running: Running, tmp_path: Path) -> None:
    settings, store = running.settings, running.store
    folder = photo_folder(tmp_path / "photos", 5, 4)
    made = running.cli(
        "ingest", "previewed", str(folder), "--kind", "subject", "--recipe", short_recipe(tmp_path, "quick")
    )
    assert made.returncode == 0 or "previewed" in made.stdout + made.stderr, made.stderr
    add_blank_head(store, settings, HeadRecipe(place="words"), (drawn_identity(store, 6),))

    said = running.cli("inject", "previewed", "--alphas", "1.0", "--gen-seeds", "1", "--schedule")
    assert said.returncode == 0, said.stderr
    run = said.stdout.split("(")[1].split(")")[0]
    ended = running.wait_state(run, "COMPLETED", "FAILED", "CRASHED", seconds=400)
    assert ended.state is not None and ended.state.type == "COMPLETED", (ended.state, running.worker_log())
    on_card = [line for line in running.stage_runs() if line.event == "finished" and line.flow_run == run]
    assert [line.stage for line in on_card] == ["inject"] and on_card[0].slot == settings.slot_name
    pages = running.api.call("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
    assert any(page["key"] == "injection-previewed" for page in pages)  # type: ignore[index, union-attr]
    preview = Injections(store).preview("previewed")
    assert preview is not None and len(preview[1].cells) == 2 * 3
