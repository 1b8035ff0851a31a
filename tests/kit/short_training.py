"""A short training in a process of its own, which can be interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from PIL import Image

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler
from flenwheel_core.recipes.train import TrainingRecipe
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
    left_half = Image.new("L", (128, 128))
    left_half.paste(255, (0, 0, 64, 128))
    mask = store.put_blob(encode_png(left_half, {}))
    items = tuple(
        TrainItem(
            image=store.put_blob(encode_png(image, {})),
            caption=f"{PROMPT}, number {i}",
            real=True,
            mask=mask if i < 2 else None,
        )
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


def interrupt(
    folder: Path, data: bytes, how: signal.Signals, after_step: int, stage: str = "train", states: str = "checkpoints"
) -> int:
    """Run until a checkpoint at or after that step is there, in a folder of the name `states`, then send the signal."""
    process = start(folder, stage, data)
    while process.poll() is None:
        found = [int(path.stem.split("-")[1]) for path in folder.rglob(f"{states}/step-*.safetensors")]
        if max(found, default=0) >= after_step:
            process.send_signal(how)
            break
        time.sleep(0.02)
    return process.wait()
