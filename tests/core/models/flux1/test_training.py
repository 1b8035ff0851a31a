"""Training on the nano base through the worker process, as a turn does it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest
from PIL import Image

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import LoraUse, Sampler
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.generate import GenerateRequest, GenerateResult
from flenwheel_core.requests.train import TrainItem, TrainRequest, TrainResult
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

PROMPT = "photo of ohwx_char person, smiling, front view"
SAMPLER = Sampler(steps=4, width=128, height=128)
CHARACTER = CharacterRef(name="ana", trigger="ohwx_char", class_word="person", kind="person")


def request(store: Store) -> TrainRequest:
    recipe = TrainingRecipe.model_validate(
        {
            "steps": 14,
            "resolution": 128,
            "batch_size": 2,
            "learning_rate": 1e-3,
            "schedule": "cosine",
            "warmup_steps": 2,
            "text_tokens": 64,
            "checkpoint_every": 4,
            "log_every": 2,
            "caption_dropout": 0.1,
            "prior": {"images": 1},
            "sampling": {"every_steps": 8, "prompts": 1},
        }
    )
    pictures = [Image.linear_gradient("L").rotate(60 * i).resize((128, 128)).convert("RGB") for i in range(6)]
    items = tuple(
        TrainItem(image=store.put_blob(encode_png(image, {})), caption=f"{PROMPT}, number {i}", real=True)
        for i, image in enumerate(pictures)
    )
    return TrainRequest(
        character=CHARACTER,
        name="ana-v1",
        items=items,
        base="nano",
        recipe=recipe,
        seed=3,
        sample_prompts=(PROMPT,),
        sampler=SAMPLER,
    )


def start(folder: Path, stage: str, data: bytes, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stage}.json").write_bytes(data)
    command = [
        sys.executable,
        "-m",
        "flenwheel_core.runner.worker",
        stage,
        str(folder / f"{stage}.json"),
        str(folder / f"{stage}.result"),
    ]
    environment = os.environ | {"FLENWHEEL_WORKSPACE": str(folder), "FLENWHEEL_GPU": "cpu"}
    return subprocess.Popen(command, env=environment, stdout=log or subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finished(folder: Path, data: bytes) -> TrainResult:
    assert start(folder, "train", data).wait() == 0
    return TrainResult.from_bytes((folder / "train.result").read_bytes(), where="result")


def test_the_log_says_which_kernels_run(tmp_path: Path) -> None:
    made = request(Store((tmp_path / "store").as_uri()))
    changes = {
        "steps": 1,
        "batch_size": 1,
        "weight_format": "fp8",
        "prior": {"method": "off"},
        "sampling": {"every_steps": 0},
    }
    recipe = TrainingRecipe.model_validate(made.recipe.model_dump(mode="json") | changes)
    data = made.model_copy(update={"recipe": recipe}).to_bytes()
    with (tmp_path / "log").open("wb") as log:
        assert start(tmp_path, "train", data, log).wait() == 0
    assert "kernels: none, PyTorch computes everything (needs an NVIDIA card)" in (tmp_path / "log").read_text()


def interrupt(folder: Path, data: bytes, how: signal.Signals, after_step: int) -> int:
    """Run until a checkpoint at or after that step is there, then send the signal."""
    process = start(folder, "train", data)
    while process.poll() is None:
        found = [int(path.stem.split("-")[1]) for path in folder.rglob("checkpoints/step-*.safetensors")]
        if max(found, default=0) >= after_step:
            process.send_signal(how)
            break
        time.sleep(0.02)
    return process.wait()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_and_stopped_runs_end_in_the_same_bytes_and_the_lora_draws_what_training_drew(
    settings: Settings, tmp_path: Path
) -> None:
    whole_folder, broken_folder = tmp_path / "whole", tmp_path / "broken"
    data = b""
    for folder in (whole_folder, broken_folder):
        store = Store(Settings(workspace=folder).store_url)
        data = request(store).to_bytes()
    whole = finished(whole_folder, data)

    assert interrupt(broken_folder, data, signal.SIGKILL, after_step=4) == -signal.SIGKILL
    assert interrupt(broken_folder, data, signal.SIGTERM, after_step=8) == 203
    assert json.loads((broken_folder / "train.result").read_text())["error"] == "InterruptedStageError"
    resumed = finished(broken_folder, data)
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
    assert start(whole_folder, "generate", generate.to_bytes()).wait() == 0
    store = Store(Settings(workspace=whole_folder).store_url)
    result = GenerateResult.from_bytes((whole_folder / "generate.result").read_bytes(), where="result")
    from flenwheel_core.store.pictures import load_picture

    drawn = load_picture(store, store.get_images(result.images)[0].digest)
    last = next(sample for sample in whole.samples if sample.step == 14)
    difference = max(
        abs(a - b) for a, b in zip(drawn.tobytes(), load_picture(store, last.image).tobytes(), strict=True)
    )
    assert difference <= 2
