"""The stage `generate`: prompts and seeds become synthetic images, one by one, resumable."""

from flenwheel_core.domain.images import ImageKind, ImageRecord
from flenwheel_core.domain.prompts import GenerateItem
from flenwheel_core.domain.stages import GenerateRequest, GenerateResult
from flenwheel_core.families.protocols import GenerateJob, LoraFile, Made
from flenwheel_core.families.registry import open_generator
from flenwheel_core.stages.base import StageContext
from flenwheel_core.store.pictures import save_picture


def generate(request: GenerateRequest, context: StageContext) -> GenerateResult:
    """Draw every item that is not drawn yet; all are kept in the plan's order."""
    finished = context.store.stage_items(request, ImageRecord)
    records = {record.item: record for record in finished.read()}
    items = {item.key: item for item in request.items}
    waiting = [item for item in request.items if item.key not in records]
    if waiting:
        jobs = [GenerateJob(item.key, item.prompt, item.seed, request.sampler) for item in waiting]
        context.progress.loading(request.base)
        with open_generator(request.base, context.settings, _lora_files(request, context)) as generator:
            for made in generator.generate(jobs):
                record = _record(request, items[made.key], made, generator.model)
                records[made.key] = record = save_picture(context.store, made.image, record)
                finished.append(record)
                context.progress.step(len(records), len(items), "images")
                context.check_stop()
    ordered = [records[item.key] for item in request.items]
    return GenerateResult(images=context.store.put_images(ordered), count=len(ordered))


def _record(request: GenerateRequest, item: GenerateItem, made: Made, model: str) -> ImageRecord:
    return ImageRecord(
        digest="0" * 64,
        width=made.image.width,
        height=made.image.height,
        kind=ImageKind.SYNTHETIC,
        prompt=item.prompt,
        caption=item.prompt,
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


def _lora_files(request: GenerateRequest, context: StageContext) -> tuple[LoraFile, ...]:
    files = []
    for use in request.loras:
        path = context.scratch / f"{use.digest}.safetensors"
        if not path.exists():
            path.write_bytes(context.store.get_blob(use.digest))
        files.append(LoraFile(path, use.weight))
    return tuple(files)
