"""What a stage's process imports, and how it says what went wrong."""

import errno
import importlib.util
import json
import sys
import threading
from pathlib import Path
from typing import cast

import pytest
import torch

from flenwheel_core.base.errors import EXIT_MAY_RETRY, EXIT_OUT_OF_MEMORY, InterruptedStageError
from flenwheel_core.base.locks import held_by, locked
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.stage import TRAIN
from flenwheel_core.runner.worker import AnyStage, _card, leave_out_card_libraries, report


def told(path: Path, error: Exception) -> tuple[int, dict[str, str]]:
    code = report(path / "result.json", error)
    return code, json.loads((path / "result.json").read_text())


def test_a_full_disk_is_said_in_words_and_may_be_retried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = told(tmp_path, OSError(errno.ENOSPC, "No space left on device", "/ws/cache/x"))
    assert code == EXIT_MAY_RETRY and said["error"] == "RetryableError"
    assert "The disk is full" in said["what"] and "/ws/cache/x" in said["what"] and "gc" in said["remedy"]
    assert capsys.readouterr().err == ""


def test_a_full_card_asks_for_a_tighter_plan_whichever_library_says_it(tmp_path: Path) -> None:
    for error in (torch.cuda.OutOfMemoryError("CUDA out of memory."), RuntimeError("CUDA error: out of memory")):
        code, said = told(tmp_path, error)
        assert code == EXIT_OUT_OF_MEMORY and said["error"] == "OutOfMemoryError" and said["why"]


@pytest.mark.parametrize(
    ("gpu", "optimizer", "imported"),
    [("cpu", "adamw", False), ("cpu", "adamw8bit", True), ("0", "adamw", True)],
)
def test_a_process_without_a_card_leaves_out_what_only_cards_need(
    gpu: str, optimizer: str, imported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", sys)  # so that the end of the test brings back what was there
    monkeypatch.delitem(sys.modules, "bitsandbytes")
    request = TrainRequest.model_construct(recipe=TrainingRecipe.model_validate({"optimizer": optimizer}))
    leave_out_card_libraries(Settings(gpu=gpu), request)
    assert (importlib.util.find_spec("bitsandbytes") is not None) == imported


def test_a_training_on_two_cards_holds_both_and_neither_worker_of_one_of_them_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the locks of cards lie
    two = Settings(workspace=tmp_path / "a", machine_name="rack", gpu="1,0")
    alone = [Settings(workspace=tmp_path / "b", machine_name="rack", gpu=gpu) for gpu in ("0", "1", "2")]
    request = TrainRequest.model_construct(recipe=TrainingRecipe(gpus=2))
    notes: list[str] = []
    progress, stop = Progress("train", lambda event: notes.append(event.text or "")), threading.Event()
    stage = cast("AnyStage", TRAIN)
    with _card(stage, request, two, progress, stop):
        holders = [held_by(settings.slot_lock) for settings in alone]
        assert [None if text is None else json.loads(text)["slot"] for text in holders] == ["rack:0", "rack:1", None]
    assert [held_by(settings.slot_lock) for settings in alone] == [None, None, None] and notes == []

    with locked(alone[1].slot_lock):  # another's work on the second card
        stop.set()
        with pytest.raises(InterruptedStageError), _card(stage, request, two, progress, stop):
            pytest.fail("the second card is not free")
    assert notes == ["waiting for the GPU slot rack:1"]
    assert [held_by(settings.slot_lock) for settings in alone] == [None, None, None], "what it had is given back"
