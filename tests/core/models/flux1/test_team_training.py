"""Two processes, started by the stage because the recipe says so, learn what one process learns with the same whole batch."""

import json
import os
import signal
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.api import RunProcsResult
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from deployments.workspace.joining import card_settings
from flenwheel_core.base.errors import ResourceError
from flenwheel_core.base.settings import Settings
from flenwheel_core.base.slots import slots_for
from flenwheel_core.requests.train import TrainRequest, TrainResult
from flenwheel_core.runner.stage import TRAIN
from flenwheel_core.stages import train_team
from flenwheel_core.store import Store
from tests.kit.run_here import run_here
from tests.kit.short_training import finished, interrupt, request

SHORT = {"steps": 8, "warmup_steps": 1, "checkpoint_every": 2, "log_every": 1}


def asked(folder: Path, *, gpus: int, batch_size: int) -> bytes:
    whole = request(Store(Settings(workspace=folder).store_url))
    changes = {"gpus": gpus, "batch_size": batch_size, **SHORT}
    # The first process alone draws and keeps: the other one is at its end before the last picture is there.
    drawn = {"prior": {"images": 0}, "sampling": {"every_steps": 4, "prompts": 1}}
    recipe = whole.recipe.model_validate(whole.recipe.model_dump() | changes | drawn)
    return whole.model_copy(update={"recipe": recipe, "keep_at": (4,)}).to_bytes()


def trained_alone(folder: Path) -> TrainResult:
    request = TrainRequest.model_validate_json(asked(folder, gpus=1, batch_size=2))
    return run_here(TRAIN, request, Settings(workspace=folder, gpu="cpu"), lambda event: None)


@pytest.mark.slow
def test_a_recipe_for_two_starts_two_and_ends_where_one_ends(tmp_path: Path) -> None:
    alone = trained_alone(tmp_path / "one")
    shared = finished(tmp_path / "two", asked(tmp_path / "two", gpus=2, batch_size=1))
    assert [point.step for point in shared.losses] == list(range(1, 9))
    assert [sample.step for sample in shared.samples] == [0, 4, 8] and len(shared.kept) == 1
    for one, two in zip(alone.losses, shared.losses, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=1e-4)

    paused = tmp_path / "paused"
    data = asked(paused, gpus=2, batch_size=1)
    assert interrupt(paused, data, signal.SIGTERM, after_step=2) == 203
    assert json.loads((paused / "train.result").read_text())["error"] == "InterruptedStageError"
    assert finished(paused, data) == shared


def test_more_cards_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceError, match="asks for 2 cards and this worker may use 1"):
        train_team._cards(2, Settings(gpu="0"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(ResourceError, match="asks for 2 cards and this stage sees 1"):
        train_team._cards(2, Settings())
    assert train_team._cards(1, Settings(gpu="0")) == ["0"]


def test_its_cards_are_those_whose_slots_it_holds() -> None:
    workers = card_settings(Settings(cards=("0", "1", "2")))
    for settings, cards in zip(workers, (["0", "1"], ["1", "2"], ["2", "0"]), strict=True):
        assert train_team._cards(2, settings) == cards
        held = {slot.name.rpartition(":")[2] for slot in slots_for(settings, 2)}
        assert held == set(cards)


def test_the_process_that_knows_why_is_asked(tmp_path: Path) -> None:
    """The others fail because it is gone: one that was killed comes first, then the first that spoke; a SIGTERM is the launcher's."""
    results = [tmp_path / f"result-{rank}.json" for rank in range(3)]

    def ended(exits: dict[int, int], spoke: tuple[int, ...], seconds: dict[int, int] | None = None) -> int:
        for result in results:
            result.unlink(missing_ok=True)
        for place, rank in enumerate(spoke):
            results[rank].write_text("{}")
            os.utime(results[rank], (100 + place, 100 + place))
        failures = {rank: ProcessFailure(rank, 1, code, "") for rank, code in exits.items()}
        for rank, failure in failures.items():
            failure.timestamp = (seconds or {}).get(rank, 100)
        return train_team._first_failure(RunProcsResult(failures=failures), results).local_rank

    assert ended({0: 1, 1: 1}, spoke=(1, 0)) == 1
    assert ended({0: 1, 1: -signal.SIGKILL, 2: -signal.SIGTERM}, spoke=(0,)) == 1
    assert ended({0: -signal.SIGTERM, 2: 1}, spoke=(2,)) == 2
    assert ended({0: 1, 1: -signal.SIGKILL}, spoke=(0,), seconds={1: 130}) == 0, "killed later, by the launcher"
