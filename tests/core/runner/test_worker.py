"""What a stage's process imports, and how it says what went wrong."""

import errno
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from flenwheel_core.base.errors import EXIT_MAY_RETRY, EXIT_OUT_OF_MEMORY
from flenwheel_core.base.settings import Settings
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.runner.worker import leave_out_card_libraries, report


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
