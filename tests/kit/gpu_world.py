"""A nano training job for the card, in this process or in one of its own: `python -m tests.kit.gpu_world FOLDER CHANGES`."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import torch

from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.job import Trained, TrainHooks, TrainJob, TrainPicture
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.flux1.loading import FluxModel
from flenwheel_core.models.flux1.trainer import train_lora
from flenwheel_core.nano.world import ANGLES, HELD_OUT_FROM, caption, make_character, make_view, render
from flenwheel_core.recipes.train import TrainingRecipe

ROOT = Path(__file__).resolve().parents[2]
TRIGGER = "ohwx_char"
SAMPLER = Sampler(steps=4, width=128, height=128)
BASE: dict[str, object] = {
    "steps": 60,
    "resolution": 128,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "text_tokens": 64,
    "checkpoint_every": 10,
    "log_every": 10,
    "lora": {"rank": 8},
    "prior": {"images": 1},
    "sampling": {"every_steps": 0},
}


def card_model(budget_gib: float = 20.0) -> FluxModel:
    """The nano base on the card."""
    return FluxModel(weights_folder("flux"), "nano", torch.device("cuda", 0), torch.bfloat16, budget_gib)


def job(folder: Path, changes: dict[str, object], memory_level: int = 0) -> TrainJob:
    """Twelve pictures of one character and the recipe above, changed."""
    character = make_character(HELD_OUT_FROM + 5)
    views = [replace(make_view(70 + i, portrait_share=1.0), angle=ANGLES[i % 5], style="photo") for i in range(12)]
    images = [render(character, view) for view in views]
    return TrainJob(
        run="run",
        name="card",
        pictures=tuple(
            TrainPicture(digest_bytes(image.tobytes()), caption(character, view, name=f"{TRIGGER} person"), image.copy)
            for image, view in zip(images, views, strict=True)
        ),
        trigger=TRIGGER,
        class_word="person",
        recipe=TrainingRecipe.model_validate(BASE | changes),
        seed=5,
        sampler=SAMPLER,
        sample_prompts=(f"photo of {TRIGGER} person, smiling",),
        folder=folder,
        memory_level=memory_level,
    )


def train(
    folder: Path,
    changes: dict[str, object],
    *,
    model: FluxModel | None = None,
    memory_level: int = 0,
    stop: threading.Event | None = None,
    notes: list[str] | None = None,
) -> Trained:
    """Train here, on the card."""
    hooks = TrainHooks(
        should_stop=(stop or threading.Event()).is_set,
        on_step=lambda done, loss: None,
        note=(notes if notes is not None else []).append,
        loading=lambda text: None,
    )
    folder.mkdir(parents=True, exist_ok=True)
    return train_lora(model or card_model(), job(folder, changes, memory_level), hooks, TensorCache(folder / "cache"))


def search_path() -> str:
    """PYTHONPATH of the processes."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def start(folder: Path, changes: dict[str, object]) -> "subprocess.Popen[bytes]":
    """Train in a process of its own, which leaves lora.safetensors and losses.json in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "tests.kit.gpu_world", str(folder), json.dumps(changes)]
    log = (folder / "log.txt").open("ab")
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": search_path()}, stdout=log, stderr=log)


def finished(folder: Path, changes: dict[str, object]) -> tuple[bytes, list[float]]:
    """The LoRA file and the losses of a run that goes to its end."""
    code = start(folder, changes).wait()
    assert code == 0, (folder / "log.txt").read_text()[-3000:]
    return (folder / "lora.safetensors").read_bytes(), json.loads((folder / "losses.json").read_text())


def interrupt(folder: Path, changes: dict[str, object], how: signal.Signals, *, after_step: int) -> tuple[int, float]:
    """Run until a checkpoint at or after that step is there, then send the signal: (exit code, seconds to the end)."""
    process = start(folder, changes)
    while process.poll() is None:
        found = [int(path.stem.split("-")[1]) for path in folder.glob("checkpoints/step-*.safetensors")]
        if max(found, default=0) >= after_step:
            break
        time.sleep(0.01)
    sent = time.monotonic()
    process.send_signal(how)
    return process.wait(), time.monotonic() - sent


def main() -> int:
    folder, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        trained = train(folder, changes, stop=stop)
    except FlenwheelError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    (folder / "lora.safetensors").write_bytes(trained.lora)
    (folder / "losses.json").write_text(json.dumps([point.loss for point in trained.losses]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
