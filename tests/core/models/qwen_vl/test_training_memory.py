"""The plan of a training step: what it counts, what it prefers, and when it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.result_file import RESULTS
from flenwheel_core.base.errors import NoTighterPlanError, RecipeError, ResourceError
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.qwen_vl.batch_memory import GRID, USUAL, MemoryRow, foretold, growth
from flenwheel_core.models.qwen_vl.geometry import VlGeometry, geometry_of
from flenwheel_core.models.qwen_vl.memory_plot import plot_memory
from flenwheel_core.models.qwen_vl.training_memory import VlLoad, choose_plan, predict_gib
from tests.kit.tiny_vl import save_tiny_vl

LOAD = VlLoad(tokens=2928, answer_tokens=240, rank=64, adapter_weights=161_480_704)
ADA = CardRoom(23.5, multiplies_fp8=True)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> VlGeometry:
    """Qwen2.5-VL-7B's sizes."""
    small = geometry_of(save_tiny_vl(tmp_path_factory.mktemp("vl"), "qwen2.5"))
    return replace(
        small, levels=1, layers=28, heads=28, key_heads=4, head=128, width=3584, mlp=18944, vocabulary=152_064
    )


def test_layers_are_computed_again_only_where_memory_asks_for_it(released: VlGeometry) -> None:
    assert choose_plan(released, LOAD, CardRoom(100.0, multiplies_fp8=True)).recompute == 0
    tight = choose_plan(released, LOAD, ADA)
    assert tight.storage == "fp8" and 0 < tight.recompute < 28 and tight.predicted_gib < 23.5
    small = choose_plan(released, LOAD, CardRoom(11.5, multiplies_fp8=True))
    assert small.storage == "nf4" and small.recompute > tight.recompute
    assert choose_plan(released, LOAD, CardRoom(40.0, multiplies_fp8=False)).storage == "dense"


def test_out_of_memory_before_asks_for_less(released: VlGeometry) -> None:
    first = choose_plan(released, LOAD, ADA)
    assert choose_plan(released, LOAD, ADA, memory_level=1).predicted_gib <= 0.95 * first.predicted_gib
    with pytest.raises(NoTighterPlanError):
        choose_plan(released, LOAD, ADA, memory_level=50)


def test_what_cannot_fit_is_refused(released: VlGeometry) -> None:
    with pytest.raises(ResourceError, match="every layer computed again"):
        choose_plan(released, LOAD, CardRoom(6.0, multiplies_fp8=True))
    with pytest.raises(RecipeError, match="does not multiply fp8"):
        choose_plan(released, LOAD, CardRoom(40.0, multiplies_fp8=False), "fp8")


def test_logits_everywhere_cost_more_than_the_answers_alone(released: VlGeometry) -> None:
    everywhere = predict_gib(released, replace(LOAD, answer_tokens=LOAD.tokens), "nf4", 28)
    assert everywhere - predict_gib(released, LOAD, "nf4", 28) > 0.3


def test_the_plan_is_within_5_percent_of_every_step_that_was_measured_at_full_size(released: VlGeometry) -> None:
    rows = [row for row in json.loads((RESULTS / "vl_memory.json").read_text())["rows"] if row.get("error") is not None]
    assert len(rows) >= 12 and {row["model"] for row in rows} == {"qwen2.5-vl-7b"}
    assert {(row["batch"], row["answers_only"]) for row in rows} >= {(8, True), (8, False)}
    for row in rows:
        said = foretold(row, released, row["weights"])
        assert said["predicted_gib"] == pytest.approx(row["predicted_gib"], rel=1e-5), "run vl_memory --foretell"
        assert abs(float(said["error"] or 0)) < 0.05, row["case"]


def test_the_grid_changes_one_thing_at_a_time() -> None:
    names = [case.name for case in GRID]
    assert len(set(names)) == len(names) == 24 and names[0] == "b1_r64"
    alone = [case for case in GRID if case.batch == 1]
    spared = ("answers_only", "features_kept")
    for case in alone:
        changed = [key for key in vars(case) if getattr(case, key) != getattr(USUAL, key)]
        assert len(changed) <= 1 or set(changed) == set(spared)


def test_growth_is_what_a_sample_more_costs() -> None:
    def row(batch: int, peak: float, **more: bool) -> MemoryRow:
        facts: MemoryRow = {"picture_tokens": 256, "text_tokens": 476, "rank": 64, "layers_recomputed": 28}
        spared: MemoryRow = {"answers_only": True, "features_kept": True, "out_of_memory": False}
        peaks: MemoryRow = {"peak_allocated_gib": peak, "peak_reserved_gib": peak}
        return {"case": f"b{batch}_r64", "batch": batch, **facts, **spared, **peaks, **more}

    rows = [row(1, 8.0), row(2, 8.5), row(4, 9.5), row(8, 0.0, out_of_memory=True), row(1, 9.0, answers_only=False)]
    found = growth(rows)
    assert [one["case"] for one in found] == ["growth_r64"] and found[0]["gib_a_sample"] == pytest.approx(0.5)


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows: list[MemoryRow] = [
        {
            "case": f"b{batch}_r64",
            "batch": batch,
            "picture_tokens": 256,
            "text_tokens": 476,
            "rank": 64,
            "answers_only": True,
            "features_kept": True,
            "peak_allocated_gib": 8.0 + batch,
        }
        for batch in (1, 2)
    ]
    drawn = plot_memory(rows)
    assert drawn is not None and drawn.startswith(b"\x89PNG") and drawn == plot_memory(rows)
