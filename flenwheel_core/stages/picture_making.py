"""What the stages that make pictures share: every picture is kept as it is finished, so a run that was killed goes on at the next one."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.documents.images import ImageKind, ImageRecord, LoraUse
from flenwheel_core.documents.prompts import EditItem, GenerateItem
from flenwheel_core.models.protocols import Made
from flenwheel_core.requests.base import StageRequest
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.requests.generate import GenerateRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.store.pictures import save_picture


class Keyed(Protocol):
    """An item of a plan."""

    @property
    def key(self) -> str: ...


Item = TypeVar("Item", bound=Keyed)


def make_pictures(
    request: StageRequest,
    context: StageContext,
    items: Sequence[Item],
    make: Callable[[Sequence[Item]], Iterator[tuple[Made, ImageRecord]]],
    unit: str,
) -> list[ImageRecord]:
    """The records of all items in the plan's order; `make` is asked for those that are not made yet.

    A picture is packed and written while the next one is drawn; it counts as made once that is done.
    """
    finished = context.store.stage_items(request, ImageRecord)
    records = {record.item: record for record in finished.read()}
    waiting = [item for item in items if item.key not in records]

    def keep(saved: "Future[ImageRecord]", key: str) -> None:
        records[key] = saved.result()
        finished.append(records[key])
        context.progress.step(len(records), len(items), unit)

    if waiting:
        with ThreadPoolExecutor(1) as pool:
            before: tuple[Future[ImageRecord], str] | None = None
            try:
                for made, planned in make(waiting):
                    saving = pool.submit(save_picture, context.store, made.image, planned)
                    if before is not None:
                        keep(*before)
                    before = saving, made.key
                    context.check_stop()
            finally:
                if before is not None:
                    keep(*before)
    return [records[item.key] for item in items]


def made_record(
    request: EnrichRequest | GenerateRequest, item: EditItem | GenerateItem, made: Made, kind: ImageKind, model: str
) -> ImageRecord:
    """What is known of a picture that was just drawn; its digest is known once it is packed."""
    return ImageRecord(
        digest="0" * 64,
        width=made.image.width,
        height=made.image.height,
        kind=kind,
        prompt=item.prompt,
        seed=item.seed,
        sampler=request.sampler,
        model=model,
        loras=request.loras,
        stage=request.stage,
        request=request.key(),
        item=item.key,
        turn=request.turn,
        template=item.template,
        cell=item.cell,
        labels=item.labels,
    )


def lora_files(loras: Sequence[LoraUse], context: StageContext) -> tuple[LoraFile, ...]:
    """The LoRAs of a request as files on this machine."""
    files = []
    for use in loras:
        path: Path = context.scratch / f"{use.digest}.safetensors"
        if not path.exists():
            path.write_bytes(context.store.get_blob(use.digest))
        files.append(LoraFile(path, use.weight))
    return tuple(files)
