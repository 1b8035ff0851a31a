"""How FLUX draws on cards of several sizes: decided by sizes of files, before anything loads."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.speed.flux_world import CONFIGS
from flenwheel_core.base.errors import NoTighterPlanError, ResourceError
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.memory import choose_drawing, largest_of, plan_training
from flenwheel_core.recipes.train import LoraRecipe, TrainingRecipe


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sizes of FLUX.1-dev, and nothing in its files."""
    folder = tmp_path_factory.mktemp("flux")
    for part, size in {"text_encoder": 246_000_000, "text_encoder_2": 9_525_000_000}.items():
        (folder / part).mkdir()
        with (folder / part / "model.safetensors").open("wb") as file:
            file.truncate(size)  # takes no room on the disk
    (folder / "transformer").mkdir()
    (folder / "transformer" / "config.json").write_text(json.dumps(CONFIGS["full"]))
    return folder


def drawn(folder: Path, usable_gib: float, level: int = 0) -> tuple[str, str]:
    model = FluxModel(folder, "flux", torch.device("cpu"), torch.bfloat16, usable_gib)
    chosen = choose_drawing(model, largest_of([(1024 * 1024, 0), (832 * 1216, 0)], 22_400_000), memory_level=level)
    assert chosen is not None and chosen.memory.predicted_gib <= usable_gib
    return chosen.memory.storage, chosen.encoders


def test_on_processors_there_is_nothing_to_plan(released: Path) -> None:
    model = FluxModel(released, "flux", torch.device("cpu"), torch.float32)
    assert choose_drawing(model, largest_of([(64 * 64, 0)], 0), memory_level=0) is None


def test_the_storage_that_fits_is_taken(released: Path) -> None:
    assert drawn(released, 40) == ("dense", "bf16")
    assert drawn(released, 23.5) == ("nf4", "bf16")  # a card without fp8; bfloat16 would fit in tiles alone
    assert drawn(released, 11.5) == ("nf4", "bf16")
    assert drawn(released, 9.0) == ("nf4", "nf4")
    with pytest.raises(ResourceError, match=r"FLUX\.1 needs .* 5\.0 GiB may be used"):
        drawn(released, 5.0)


def test_after_running_out_of_memory_encoders_are_quantised_too(released: Path) -> None:
    assert drawn(released, 40, level=1)[1] == "nf4"
    with pytest.raises(NoTighterPlanError):
        drawn(released, 40, level=9)


def test_training_reads_prompts_in_nf4_where_bfloat16_does_not_fit(released: Path) -> None:
    formats = [
        FluxModel(released, "flux", torch.device("cpu"), torch.bfloat16, usable).encoder_format(wanted)
        for usable, wanted in ((23.5, "bf16"), (9.0, "bf16"), (23.5, "int8"), (None, "bf16"))
    ]
    assert formats == ["bf16", "nf4", "int8", "bf16"]


def test_an_adapter_without_a_tighter_plan_is_not_trained_the_same_way_again(released: Path) -> None:
    model = FluxModel(released, "flux", torch.device("cuda"), torch.bfloat16, 23.5)
    recipe = TrainingRecipe(lora=LoraRecipe(dora=True))
    assert plan_training(model, recipe, tighter=0) is None
    with pytest.raises(NoTighterPlanError, match="no tighter plan"):
        plan_training(model, recipe, tighter=1)
