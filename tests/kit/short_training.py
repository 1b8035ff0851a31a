"""A short training in a process of its own, which can be interrupted."""

import signal
import subprocess
from pathlib import Path
from threading import Thread

from PIL import Image

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import Sampler
from flenwheel_core.recipes.train import TrainingRecipe
from flenwheel_core.requests.train import TrainItem, TrainRequest, TrainResult
from flenwheel_core.runner.launch import child_environment
from flenwheel_core.runner.stage_process import start_stage
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png
from tests.kit.sources import ROOT

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


class Begun:
    """A stage at work in a process of its own, forked as the program forks it: only the first one waits for the imports."""

    def __init__(self, folder: Path, stage: str, data: bytes) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        request, result = folder / f"{stage}.json", folder / f"{stage}.result"
        request.write_bytes(data)
        environment = child_environment(Settings(workspace=folder, gpu="cpu"), None)
        # As with the fixture `settings`: another environment would import everything again.
        environment["PYTHONPATH"] = str(ROOT)
        self.process = start_stage([stage, str(request), str(result)], environment, card=False, ahead=True)
        self._streams = [stream for stream in (self.process.stdout, self.process.stderr) if stream is not None]
        self._said: list[list[str]] = [[] for _ in self._streams]
        self._readers = [
            Thread(target=said.extend, args=(stream,)) for said, stream in zip(self._said, self._streams, strict=True)
        ]
        for reader in self._readers:
            reader.start()

    def over(self, seconds: float | None = None) -> bool:
        """Waits so long for its end."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> tuple[int, str]:
        """Its exit code, and what it said on standard output."""
        code = self.process.wait()
        for reader, stream in zip(self._readers, self._streams, strict=True):
            reader.join()
            stream.close()
        return code, "".join(self._said[0])


def ended(folder: Path, stage: str, data: bytes) -> tuple[int, str]:
    """The exit code of a stage and what it said."""
    return Begun(folder, stage, data).end()


def finished(folder: Path, data: bytes) -> TrainResult:
    assert ended(folder, "train", data)[0] == 0
    return TrainResult.from_bytes((folder / "train.result").read_bytes(), where="result")


def interrupt(
    folder: Path, data: bytes, how: signal.Signals, after_step: int, stage: str = "train", states: str = "checkpoints"
) -> int:
    """Run until a checkpoint at or after that step is there, in a folder of the name `states`, then send the signal."""
    begun = Begun(folder, stage, data)
    while not begun.over(0.02):
        found = [int(path.stem.split("-")[1]) for path in folder.rglob(f"{states}/step-*.safetensors")]
        if max(found, default=0) >= after_step:
            begun.process.send_signal(how)
            break
    return begun.end()[0]
