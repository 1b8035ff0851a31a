"""Two processes, started by the stage because the recipe says so, learn what one process learns with the same whole batch."""

from pathlib import Path

import pytest

from flenwheel_core.domain.stages import TrainResult
from flenwheel_core.errors import ResourceError
from flenwheel_core.settings import Settings
from flenwheel_core.stages import train_team
from flenwheel_core.store import Store
from tests.core.families.flux.test_training import finished, request

SHORT = {"steps": 4, "warmup_steps": 1, "checkpoint_every": 2, "log_every": 1}


def trained(folder: Path, *, gpus: int, batch_size: int) -> TrainResult:
    whole = request(Store(Settings(workspace=folder).store_url))
    changes = {"gpus": gpus, "batch_size": batch_size, **SHORT}
    nothing_drawn = {"prior": {"images": 0}, "sampling": {"every_steps": 0}}
    recipe = whole.recipe.model_validate(whole.recipe.model_dump() | changes | nothing_drawn)
    return finished(folder, whole.model_copy(update={"recipe": recipe}).to_bytes())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_recipe_for_two_starts_two_and_ends_where_one_ends(tmp_path: Path) -> None:
    alone = trained(tmp_path / "one", gpus=1, batch_size=2)
    shared = trained(tmp_path / "two", gpus=2, batch_size=1)
    assert [point.step for point in shared.losses] == [1, 2, 3, 4]
    for one, two in zip(alone.losses, shared.losses, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=1e-4)


def test_more_cards_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ResourceError, match="asks for 2 cards and this stage sees 1"):
        train_team._cards(2, Settings(gpu="0"))
    assert train_team._cards(1, Settings(gpu="0")) == ["0"]
