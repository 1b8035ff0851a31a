"""What the editor keeps in memory while it is trained and while it draws, against what was measured at full size."""

import itertools
import json
from pathlib import Path

import pytest
import torch

from flenwheel_core.base.errors import NoTighterPlanError, ResourceError
from flenwheel_core.documents.storages import EditorStorage
from flenwheel_core.memory.training import MemoryPlan
from flenwheel_core.models.qwen_image.conditioning import Revision, plan_sizes
from flenwheel_core.models.qwen_image.fast_drawing import choose_drawing
from flenwheel_core.models.qwen_image.loading import QwenEditModel
from flenwheel_core.models.qwen_image.memory import plan_training, training_spec

CONFIG = {"num_layers": 60, "num_attention_heads": 24, "attention_head_dim": 128}
ADAPTER_WEIGHTS = 106_000_000
"""Rank 16 on both streams' attention and MLP."""
TEXT_TOKENS = 1300
"""A prompt with one picture of 1 MP, as the first revision reads it."""
RESULTS = Path(__file__).parents[4] / "benchmarks" / "results" / "edit_step.json"


def plan(budget_gib: float, *, resolution: int = 1024, weights_gib: float = 10.2, memory_level: int = 0) -> MemoryPlan:
    return plan_training(
        training_spec(CONFIG, weights_gib=weights_gib),
        storage="nf4",
        adapter_weights=ADAPTER_WEIGHTS,
        tokens=2 * (resolution // 16) ** 2 + TEXT_TOKENS,
        optimizer="adamw",
        usable_gib=budget_gib,
        memory_level=memory_level,
    )


def kept_of(plan: MemoryPlan) -> tuple[int, int]:
    return plan.recompute[0], plan.attention_kept


def test_a_24_gib_card_recomputes_blocks_but_not_their_attention() -> None:
    assert kept_of(plan(24)) == (60, 60)
    kept = plan(20).attention_kept
    assert 0 < kept < 60 and plan(17.35).attention_kept == 0


def test_a_large_card_recomputes_nothing() -> None:
    assert kept_of(plan(140, weights_gib=38)) == (0, 0)
    assert kept_of(plan(80, weights_gib=38)) == (60, 60)


def test_small_pictures_keep_more() -> None:
    assert kept_of(plan(16.4, resolution=512)) == (60, 60)
    assert kept_of(plan(48, resolution=512)) == (0, 0)


def test_after_running_out_of_memory_it_is_more_careful() -> None:
    needs = [plan(21, memory_level=level).predicted_gib for level in range(4)]
    assert all(later <= 0.95 * before for before, later in itertools.pairwise(needs))
    with pytest.raises(NoTighterPlanError, match="no tighter plan"):
        plan(21, memory_level=9)


def test_what_cannot_fit_is_refused_with_what_it_would_take() -> None:
    with pytest.raises(ResourceError, match="at least, and 12"):
        plan(12)


def test_what_was_measured_is_predicted_within_five_percent() -> None:
    rows = {row["case"]: row for row in json.loads(RESULTS.read_text())["rows"]}
    most, fewer = plan(24), plan(20)
    a_block = (most.predicted_gib - fewer.predicted_gib) / (most.attention_kept - fewer.attention_kept)
    for case in ("ours_24gib_1mp", "ours_1mp"):
        predicted = most.predicted_gib - a_block * (most.attention_kept - rows[case]["attention_kept"])
        assert predicted == pytest.approx(rows[case]["peak_reserved_gib"], rel=0.05)


# drawing


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sizes of Qwen-Image-Edit-2509, and nothing in its files."""
    folder = tmp_path_factory.mktemp("editor")
    sizes = {"transformer": 40_900_000_000, "text_encoder": 16_580_000_000, "vae": 254_000_000}
    for part, size in sizes.items():
        (folder / part).mkdir()
        with (folder / part / "model.safetensors").open("wb") as file:
            file.truncate(size)  # takes no room on the disk
    config = {**CONFIG, "joint_attention_dim": 3584, "in_channels": 64}
    (folder / "transformer" / "config.json").write_text(json.dumps(config))
    return folder


def drawn(folder: Path, usable_gib: float, storage: EditorStorage | None = None, level: int = 0) -> str:
    model = QwenEditModel(
        folder, "edit", Revision.PLUS, torch.device("cpu"), torch.bfloat16, "bf16", folder / "kept", usable_gib
    )
    sizes = [plan_sizes([(1024, 1024)], Revision.PLUS), plan_sizes([(3000, 4000)], Revision.PLUS)]
    chosen, plan = choose_drawing(model, sizes, (), storage, level)
    assert plan.predicted_gib <= usable_gib
    tiles = "" if plan.tile_px is None else " in tiles"
    return f"{chosen.storage}{tiles}, encoder {chosen.encoder_storage}"


def test_an_edit_is_planned_for_the_card_before_anything_loads(released: Path) -> None:
    assert drawn(released, 79) == "bf16, encoder bf16"
    assert drawn(released, 23.5, "fp8") == "fp8 in tiles, encoder bf16"
    assert drawn(released, 15.5) == "nf4, encoder nf4"
    with pytest.raises(ResourceError, match=r"Qwen-Image needs 1\d\.\d GiB .* 10\.0 GiB may be used"):
        drawn(released, 10.0)


def test_after_running_out_of_memory_edits_give_up_more(released: Path) -> None:
    assert drawn(released, 47, level=0) == "bf16, encoder bf16"
    assert drawn(released, 47, level=1) == "nf4, encoder nf4"
    with pytest.raises(NoTighterPlanError):
        drawn(released, 47, level=9)
