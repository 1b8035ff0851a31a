"""The stage `generate`: prompts and seeds become synthetic images, one by one, resumable."""

from collections.abc import Iterator, Sequence
from functools import partial

from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.prompts import GenerateItem
from flenwheel_core.models.protocols import GenerateJob, Made
from flenwheel_core.models.registry import open_generator
from flenwheel_core.requests.generate import GenerateRequest, GenerateResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.picture_making import lora_files, made_record, make_pictures


def generate(request: GenerateRequest, context: StageContext) -> GenerateResult:
    """Draw every item that is not drawn yet; all are kept in the plan's order."""
    records = make_pictures(request, context, request.items, partial(_drawn, request, context), "images")
    return GenerateResult(images=context.store.put_images(records), count=len(records))


def draw_once(request: GenerateRequest, context: StageContext) -> tuple[ImageRecord, ...]:
    """The pictures of a generation that another stage needs: kept as one of its own, so that the same is drawn once, ever."""
    done = context.store.get_result(request, GenerateResult)
    if done is None:
        context.store.put_request(request)
        done = generate(request, context)
        context.store.put_result(request, done)
    return context.store.get_images(done.images)


def _drawn(
    request: GenerateRequest, context: StageContext, items: Sequence[GenerateItem]
) -> Iterator[tuple[Made, ImageRecord]]:
    planned = {item.key: item for item in items}
    jobs = [GenerateJob(item.key, item.prompt, item.seed, request.sampler) for item in items]
    context.progress.loading(request.base)
    loras = lora_files(request.loras, context)
    with open_generator(request.base, context.settings, context.setup(loras)) as generator:
        for made in generator.generate(jobs):
            yield made, _record(request, planned[made.key], made, generator.model)


def _record(request: GenerateRequest, item: GenerateItem, made: Made, model: str) -> ImageRecord:
    record = made_record(request, item, made, ImageKind.SYNTHETIC, model)
    return record.model_copy(update={"caption": item.prompt})
