"""An exported LoRA with random weights, ready to be published, and publishing it in a process that may be killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from flenwheel_core.base.errors import FlenwheelError
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, Sampler
from flenwheel_core.documents.loras import LoraRecord, SampleImage
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.publishing.bundle import Bundle, bundle_of
from flenwheel_core.requests.export import ExportedFile, ExportRequest
from flenwheel_core.requests.publish import PublishRequest, What
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.export import export
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

SECONDS = 120.0


def exported(folder: Path, *, kilobytes: int = 512) -> tuple[Store, ExportRequest, tuple[ExportedFile, ...]]:
    """The export of a LoRA on nano, made by the stage."""
    import torch
    from PIL import Image

    settings = Settings(workspace=folder, gpu="cpu")
    store = Store(settings.store_url)
    random = np.random.default_rng(1)
    weights = torch.from_numpy(random.standard_normal((kilobytes, 256), dtype=np.float32))
    lora = LoraRecord(
        digest=store.put_blob(tensor_bytes({"x.lora_A.weight": weights})),
        name="mira-v1",
        target="generator",
        base_model="nano@1",
        trigger="ohwx_mira",
        class_word="person",
        rank=4,
        alpha=4.0,
        steps=4,
        images=2,
        dataset="b" * 64,
        request="c" * 64,
    )

    def picture(seed: int) -> bytes:
        noise = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        return encode_png(Image.fromarray(noise), {})

    samples = tuple(
        SampleImage(step=4, prompt=f"photo of ohwx_mira person, {n}", seed=n, image=store.put_blob(picture(n)))
        for n in range(2)
    )
    pool = [
        ImageRecord(
            digest=f"{n:064x}", width=64, height=64, kind=ImageKind.SOURCE, stage="ingest", request="1" * 64, item="i"
        )
        for n in range(2)
    ]
    request = ExportRequest(
        character=CharacterRef(name="mira", trigger="ohwx_mira", class_word="person", kind="person"),
        lora=lora,
        samples=samples,
        sources="d" * 64,
        pool=store.put_images(pool),
        turn=1,
        sampler=Sampler(steps=8, guidance=1.0, width=64, height=64),
    )
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    context = StageContext(store, settings, scratch, Progress("export", lambda event: None))
    return store, request, export(request, context).files


def bundle(folder: Path, *, what: What = "model", kilobytes: int = 512) -> Bundle:
    """What is published of that LoRA."""
    store, request, files = exported(folder, kilobytes=kilobytes)
    return bundle_of(PublishRequest(export=request, files=files, what=what, to="folder", place="x"), store)


def in_a_process(work: Callable[[], object], began: Callable[[int], None]) -> bool:
    """Runs `work` in a forked process, whose id `began` is told; True if it came to its end."""
    process = multiprocessing.get_context("fork").Process(target=_quietly, args=(work,))
    process.start()
    assert process.pid is not None
    began(process.pid)
    process.join(SECONDS)
    if process.is_alive():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    return process.exitcode == 0


def _quietly(work: Callable[[], object]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        work()
    except FlenwheelError:
        os._exit(1)
    os._exit(0)
