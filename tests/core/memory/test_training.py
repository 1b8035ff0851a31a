import itertools
import json
from pathlib import Path

import pytest

from benchmarks.speed.flux_world import CONFIGS
from flenwheel_core.base.errors import ResourceError
from flenwheel_core.memory.training import MemoryPlan, before_adapters, choose_plan, predict_gib, recompute_steps
from flenwheel_core.models.flux1.memory import flux_spec

SPEC = flux_spec(CONFIGS["full"])
IN_BF16 = flux_spec(CONFIGS["full"], multiplies_fp8=False)
"""The file's rows of NF4 are of products in bfloat16, as on cards that do not multiply fp8."""
ADAPTER = 65_372_160
"""Rank 16 on all linears of FLUX.1-dev's blocks."""
MEASURED = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "memory_plan.json"


def plan(
    budget_gib: float, *, pixels: int = 1024, tighter: int = 0, storages: tuple[str, ...] = ("fp8", "nf4")
) -> MemoryPlan:
    return choose_plan(
        SPEC,
        usable_gib=budget_gib,
        tokens=(pixels // 16) ** 2 + 512,
        adapter_weights=ADAPTER,
        optimizer="adamw",
        storages=storages,  # type: ignore[arg-type]
        tighter=tighter,
    )


def test_the_prediction_is_within_five_percent_of_every_measured_configuration() -> None:
    rows = [row for row in json.loads(MEASURED.read_text())["rows"] if row.get("measured_gib")]
    assert len(rows) >= 12
    for row in rows:
        predicted = predict_gib(
            IN_BF16 if row["storage"] == "nf4" else SPEC,
            storage=row["storage"],
            modulation=row["storage"],
            transposed=row["transposed"],
            recompute=(row["recompute_double"], row["recompute_single"]),
            tokens=row["batch"] * ((row["pixels"] // 16) ** 2 + 512),
            adapter_weights=ADAPTER * row["rank"] // 16,
        )
        assert predicted == pytest.approx(row["measured_gib"], rel=0.05), row["case"]


def test_blocks_before_the_first_adapter_keep_nothing() -> None:
    """A style at rank 8 on the late single blocks, 35 of 57 blocks recomputed, reserved 18.3 GiB on a card of 24 (dress_rehearsal.json)."""
    late = before_adapters(SPEC, [(), range(19, 38)])
    assert [block.before_adapters for block in late.blocks] == [19, 19]
    predicted = predict_gib(
        late,
        storage="fp8",
        modulation="fp8",
        transposed=False,
        recompute=(12, 23),
        tokens=4608,
        adapter_weights=7_938_048,
    )
    assert predicted == pytest.approx(18.27, rel=0.05)
    steps = recompute_steps(late)
    assert steps[0] == (0, 0) and steps[1] == (19, 20) and steps[-1] == (19, 38) and len(steps) == 20
    whole = before_adapters(SPEC, [range(3, 19), range(30, 38)])
    assert [block.before_adapters for block in whole.blocks] == [3, 0], (
        "what comes after the first adapter keeps its own"
    )


def test_nf4_keeps_less_where_it_is_multiplied_as_fp8() -> None:
    """16 GiB, 48 of 57 blocks recomputed, reserved 13.5 GiB, and 12 GiB, all recomputed, 10.7 (dress_rehearsal.json)."""
    for recompute, measured in (((16, 32), 13.49), ((19, 38), 10.71)):
        predicted = predict_gib(
            SPEC,
            storage="nf4",
            modulation="nf4",
            transposed=False,
            recompute=recompute,
            tokens=4608,
            adapter_weights=ADAPTER,
        )
        assert predicted == pytest.approx(measured, rel=0.05)


def test_more_memory_means_less_recomputing_and_a_faster_storage() -> None:
    large, card, small, tiny = plan(140), plan(24), plan(16), plan(12)
    assert large.transposed and sum(large.recompute) == 0
    assert card.storage == "fp8" and 0 < sum(card.recompute) < 57
    assert small.storage in ("fp8", "nf4") and tiny.storage == "nf4"
    assert [p.predicted_gib for p in (large, card, small, tiny)] == sorted(
        (p.predicted_gib for p in (large, card, small, tiny)), reverse=True
    )
    for budget, chosen in ((24, card), (16, small), (12, tiny)):
        assert chosen.predicted_gib < budget
    assert "blocks recomputed" in card.describe(SPEC)


def test_every_out_of_memory_error_makes_the_plan_tighter() -> None:
    needs = [plan(24, tighter=level).predicted_gib for level in range(3)]
    assert needs[0] > needs[1] > needs[2]


def test_what_cannot_fit_is_refused_before_anything_loads_with_what_it_would_take() -> None:
    with pytest.raises(ResourceError) as caught:
        plan(6)
    assert "GiB of video memory at least" in caught.value.message and "train.resolution" in caught.value.message


def test_recomputation_grows_block_by_block_in_both_kinds() -> None:
    steps = recompute_steps(SPEC)
    assert steps[0] == (0, 0) and steps[-1] == (19, 38)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(steps))
