"""Two processes, started by the stage because the recipe says so, learn what one process learns with the same whole batch."""

import json
import signal
from pathlib import Path

import pytest

from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.stages import train_team
from flenwheel_core.store import Store
from tests.kit.short_training import finished, interrupt, request

SHORT = {"steps": 8, "warmup_steps": 1, "checkpoint_every": 2, "log_every": 1}


def asked(folder: Path, *, gpus: int, batch_size: int) -> bytes:
    whole = request(Store(Settings(workspace=folder).store_url))
    changes = {"gpus": gpus, "batch_size": batch_size, **SHORT}
    nothing_drawn = {"prior": {"images": 0}, "sampling": {"every_steps": 0}}
    recipe = whole.recipe.model_validate(whole.recipe.model_dump() | changes | nothing_drawn)
    return whole.model_copy(update={"recipe": recipe}).to_bytes()


def trained(folder: Path, *, gpus: int, batch_size: int) -> TrainResult:
    return finished(folder, asked(folder, gpus=gpus, batch_size=batch_size))


@pytest.mark.slow
def test_a_recipe_for_two_starts_two_and_ends_where_one_ends(tmp_path: Path) -> None:
    alone = trained(tmp_path / "one", gpus=1, batch_size=2)
    shared = trained(tmp_path / "two", gpus=2, batch_size=1)
    assert [point.step for point in shared.losses] == list(range(1, 9))
    for one, two in zip(alone.losses, shared.losses, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=1e-4)

    paused = tmp_path / "paused"
    data = asked(paused, gpus=2, batch_size=1)
    assert interrupt(paused, data, signal.SIGTERM, after_step=2) == 203
    assert json.loads((paused / "train.result").read_text())["error"] == "InterruptedStageError"
    assert finished(paused, data) == shared


def test_more_cards_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ResourceError, match="asks for 2 cards and this stage sees 1"):
        train_team._cards(2, Settings(gpu="0"))
    assert train_team._cards(1, Settings(gpu="0")) == ["0"]
