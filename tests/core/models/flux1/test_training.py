"""Training on the nano base through the worker process, as a turn does it."""

import json
import signal
from pathlib import Path

import pytest

from flenwheel_core.base.progress import ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.requests.train import TrainResult
from flenwheel_core.runner.stage import GENERATE, TRAIN
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture
from tests.kit.run_here import run_here
from tests.kit.short_training import CHARACTER, PROMPT, SAMPLER, ended, finished, interrupt, request


def test_the_log_says_which_kernels_run_and_what_becomes_of_masks(tmp_path: Path) -> None:
    made = request(Store((tmp_path / "store").as_uri()))
    changes = {
        "steps": 1,
        "batch_size": 6,
        "log_every": 1,
        "weight_format": "fp8",
        "prior": {"method": "off"},
        "sampling": {"every_steps": 0},
    }
    recipe = TrainingRecipe.model_validate(made.recipe.model_dump(mode="json") | changes)
    masked = made.model_copy(update={"recipe": recipe})
    code, said = ended(tmp_path, "train", masked.to_bytes())
    assert code == 0
    assert "kernels: none, PyTorch computes everything (needs an NVIDIA card)" in said
    assert "2 of 6 pictures have masks: what they leave black weighs 0.1" in said
    result = TrainResult.from_bytes((tmp_path / "train.result").read_bytes(), where="result")
    whole_pictures = tuple(item.model_copy(update={"mask": None}) for item in made.items)
    unmasked = masked.model_copy(update={"items": whole_pictures})
    more: list[ProgressEvent] = []
    other = run_here(TRAIN, unmasked, Settings(workspace=tmp_path, gpu="cpu"), more.append)
    assert abs(other.losses[0].loss - result.losses[0].loss) > 1e-3 and all("masks" not in event.text for event in more)


@pytest.mark.slow
def test_killed_stopped_and_moved_runs_end_in_the_same_bytes_and_the_lora_draws_what_training_drew(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_folder, broken_folder, other_machine = tmp_path / "whole", tmp_path / "broken", tmp_path / "other"
    common = (tmp_path / "common store").as_uri()
    data = b""
    for url in (Settings(workspace=whole_folder).store_url, common):
        data = request(Store(url)).to_bytes()
    whole = finished(whole_folder, data)

    monkeypatch.setenv("FLENWHEEL_STORE", common)
    assert interrupt(broken_folder, data, signal.SIGKILL, after_step=4) == -signal.SIGKILL
    assert interrupt(broken_folder, data, signal.SIGTERM, after_step=8) == 203
    assert json.loads((broken_folder / "train.result").read_text())["error"] == "InterruptedStageError"
    assert [path for path in Store(common).files.list("stages/train") if "/states/" in path]
    code, said = ended(other_machine, "train", data)
    assert code == 0
    assert "goes on from checkpoints/step-0000" in said, "what the machine that stopped had done is not done again"
    assert not [path for path in Store(common).files.list("stages/train") if "/states/" in path]
    resumed = TrainResult.from_bytes((other_machine / "train.result").read_bytes(), where="result")
    assert resumed.lora.digest == whole.lora.digest
    assert resumed == whole
    assert [point.step for point in whole.losses] == [2, 4, 6, 8, 10, 12, 14]
    assert sorted({sample.step for sample in whole.samples}) == [0, 8, 14]

    generate = GenerateRequest(
        character=CHARACTER,
        items=(GenerateItem(key="a", prompt=PROMPT, seed=42),),
        base="nano",
        loras=(LoraUse(digest=whole.lora.digest),),
        sampler=SAMPLER,
        turn=1,
    )
    here = Settings(workspace=whole_folder, gpu="cpu")
    result = run_here(GENERATE, generate, here, lambda event: None)
    store = Store(here.store_url)
    drawn = load_picture(store, store.get_images(result.images)[0].digest)
    last = next(sample for sample in whole.samples if sample.step == 14)
    difference = max(
        abs(a - b) for a, b in zip(drawn.tobytes(), load_picture(store, last.image).tobytes(), strict=True)
    )
    assert difference <= 2
