"""How much of the editor's training is recomputed, against what was measured at full size."""

import itertools
import json
from pathlib import Path

import pytest

from flenwheel_core.errors import NoTighterPlanError, ResourceError
from flenwheel_core.families.qwen_edit.memory import Recompute, plan_recompute, tokens_of_step

CONFIG = {"num_layers": 60, "num_attention_heads": 24, "attention_head_dim": 128}
ADAPTER_WEIGHTS = 106_000_000
"""Rank 16 on both streams' attention and MLP."""
RESULTS = Path(__file__).parents[4] / "benchmarks" / "results" / "edit_step.json"


def plan(budget_gib: float, *, resolution: int = 1024, weights_gib: float = 10.2, memory_level: int = 0) -> Recompute:
    return plan_recompute(
        CONFIG,
        weights_gib=weights_gib,
        adapter_weights=ADAPTER_WEIGHTS,
        tokens=tokens_of_step(resolution),
        usable_gib=budget_gib,
        memory_level=memory_level,
    )


def kept_of(plan: Recompute) -> tuple[int, int]:
    return plan.blocks, plan.attention_kept


def test_a_24_gib_card_recomputes_blocks_but_not_their_attention() -> None:
    assert kept_of(plan(24)) == (60, 60)
    kept = plan(20).attention_kept
    assert 0 < kept < 60 and plan(16.5).attention_kept == 0


def test_a_large_card_recomputes_nothing() -> None:
    assert kept_of(plan(140, weights_gib=38)) == (0, 0)
    assert kept_of(plan(80, weights_gib=38)) == (60, 60)


def test_small_pictures_keep_more() -> None:
    assert kept_of(plan(16, resolution=512)) == (60, 60)
    assert kept_of(plan(48, resolution=512)) == (0, 0)


def test_after_running_out_of_memory_it_is_more_careful() -> None:
    needs = [plan(21, memory_level=level).predicted_gib for level in range(4)]
    assert all(later <= 0.95 * before for before, later in itertools.pairwise(needs))
    with pytest.raises(NoTighterPlanError, match="no tighter plan"):
        plan(21, memory_level=9)


def test_what_cannot_fit_is_refused_with_what_it_would_take() -> None:
    with pytest.raises(ResourceError, match="at least, and 12"):
        plan(12)


def test_what_is_planned_within_a_cap_was_seen_to_fit_it() -> None:
    rows = {row["case"]: row for row in json.loads(RESULTS.read_text())["rows"]}
    for case in ("ours_24gib_1mp", "ours_1mp"):
        assert plan(rows[case]["cap_gib"]).attention_kept <= rows[case]["attention_kept"]
