"""Injection into Qwen-Image at full size: a training step through the frozen transformer, and the time from photos to the first grid.

The stages themselves run, in processes of their own, on weights on disk, with the card limited from outside. The weights are random in
the real shapes: neither speed nor memory depends on their values. The head learns at 512 x 768 with batch 1; the grid has 3 strengths, 3
seeds and a row without injection, 28 steps, true classifier-free guidance. Each row is written as soon as it is measured, and the same
command goes on from there after it was cut off; remove the folder `injection-*` among the models to measure anew.

    python -m benchmarks.speed.injection_step --work /dev/shm/rehearsal --card 24      # about 75 GB of folders, made once
    python -m benchmarks.speed.injection_step --size nano --out /tmp/results           # try the code on a CPU; no figures of full size
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

from benchmarks.result_file import RESULTS, Row, write_part
from benchmarks.speed.card_limit import LimitLog, limited_card
from benchmarks.speed.dress_rehearsal import Seen
from benchmarks.speed.rehearsal_bases import qwen_image_folder
from benchmarks.speed.rehearsal_folders import captioner_folder, edit_folder
from benchmarks.speed.vl_folder import vl_folder
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.nano.world import HELD_OUT_FROM, make_character, make_view, render
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.inject import (
    InjectionIdentity,
    InjectionPhoto,
    InjectionPrompt,
    InjectRequest,
    InjectTrainRequest,
)
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import INJECT, INJECT_TRAIN, Stage
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png

FULL = Sampler(steps=28, guidance=4.5, true_cfg=4.5, width=512, height=768)
NANO = Sampler(steps=2, guidance=4.5, true_cfg=4.5, width=128, height=192)
PROMPT = "a portrait photo of a person, studio lighting, 85mm"
PHOTOS = 2

Asked = TypeVar("Asked", bound=StageRequest)
Made = TypeVar("Made", bound=StageResult)


def folders(work: Path, size: str, features: str) -> tuple[Path, Path]:
    """What sees and what draws; made if they are not there."""
    if size == "nano":
        return weights_folder("vlm"), qwen_image_folder(work / "qwen-image-nano", weights_folder("editor"))
    editor = edit_folder(work / "qwen-image-edit-2509")
    base = qwen_image_folder(work / "qwen-image", editor)
    if features == "qwen3-vl-8b":
        return vl_folder(work / features, features), base
    seeing = work / "qwen2.5-vl-7b"
    if not (seeing / "done").exists():
        captioner_folder(seeing, editor)
    return seeing, base


def people(store: Store, count: int, side: int) -> tuple[InjectionIdentity, ...]:
    """Drawn people: what photos show costs no time."""
    found = []
    for number in range(count):
        character = make_character(HELD_OUT_FROM + 700_000 + number)
        images = [render(character, make_view(number * 10 + view), size=side) for view in range(PHOTOS)]
        photos = [
            InjectionPhoto(image=store.put_blob(encode_png(image, {})), described="a person with red hair")
            for image in images
        ]
        found.append(InjectionIdentity(name=f"p{number}", photos=tuple(photos)))
    return tuple(found)


def measure(arguments: argparse.Namespace, keep: Callable[[Row], None]) -> None:
    """Measures what is not measured yet; `keep` is given each row as soon as there is one."""
    sees, draws = folders(arguments.work, arguments.size, arguments.features)
    full = arguments.size == "full"
    features = arguments.features if full else "nano"
    settings = Settings(workspace=arguments.work / f"injection-{features}", gpu="auto" if full else "cpu")
    store = Store(settings.store_url)
    sampler = FULL if full else NANO
    known = people(store, arguments.steps // PHOTOS, 768 if full else 128)
    facts: Row = {"case": "", "size": arguments.size, "features": features, "card_gib": arguments.card}
    limited = limited_card(arguments.card) if full else nullcontext(None)
    with limited as log:
        train = InjectTrainRequest(
            identities=known,
            features=str(sees),
            base=str(draws),
            head=HeadRecipe(),
            learning=LearningRecipe(epochs=1, batch_size=1, stages=("flow",), checkpoint_every=10_000),
            width=sampler.width,
            height=sampler.height,
        )
        trained, row = timed(INJECT_TRAIN, train, settings, log)
        if row is not None:
            keep(
                {**facts, "case": "training", "step_seconds": row.pop("item_seconds"), "steps": arguments.steps, **row}
            )
        asked = InjectRequest(
            identities=known[:1],
            features=str(sees),
            base=str(draws),
            head=trained.head,
            prompts=(InjectionPrompt(text=PROMPT),),
            alphas=(0.5, 1.0, 1.5),
            seeds=(1234, 5678, 9999),
            sampler=sampler,
        )
        drawn, row = timed(INJECT, asked, settings, log)
        if row is not None:
            keep(
                {
                    **facts,
                    "case": "first grid",
                    "picture_seconds": row.pop("item_seconds"),
                    "pictures": len(drawn.cells),
                    **row,
                }
            )


def timed(
    stage: Stage[Asked, Made], request: Asked, settings: Settings, log: LimitLog | None
) -> tuple[Made, dict[str, float | None] | None]:
    """What a stage makes, and what it took; None if it was there before."""
    standing = Store(settings.store_url).get_result(request, stage.result)
    if standing is not None:
        print(f"{stage.name} was measured before: remove {settings.root} to measure it anew", flush=True)
        return standing, None
    before = 0 if log is None else len(log.counts())
    seen, began = Seen(), time.monotonic()
    made = run_in_child(stage, request, settings, seen.take)
    counted = [] if log is None else log.counts()[before:]
    return made, {
        "item_seconds": seen.item_seconds(),
        "first_item_seconds": seen.steps[0][0] if seen.steps else None,
        "whole_seconds": time.monotonic() - began,
        "peak_gib": max((one.peak_gib for one in counted), default=None),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()), help="folder of the models")
    parser.add_argument("--size", choices=("full", "nano"), default="full")
    parser.add_argument("--features", choices=("qwen2.5-vl-7b", "qwen3-vl-8b"), default="qwen3-vl-8b")
    parser.add_argument("--card", type=float, default=24.0, help="GiB of the card that a stage may take")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, help="folder for the result file")
    arguments = parser.parse_args(argv)
    if arguments.size == "nano" and arguments.out is None:
        parser.error("figures of nano models do not go among the results: name another folder with --out")

    def keep(row: Row) -> None:
        print(row, flush=True)
        write_part("injection_step", [row], folder=arguments.out or RESULTS)

    measure(arguments, keep)


if __name__ == "__main__":
    main()
