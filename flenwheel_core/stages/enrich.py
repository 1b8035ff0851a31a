"""The stage `enrich`: a plan of edits becomes enriched images, one by one, resumable."""

from collections.abc import Iterator, Sequence
from functools import partial

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.prompts import EditItem
from flenwheel_core.models.protocols import EditJob, Made
from flenwheel_core.models.references import ModelRole, resolve_model
from flenwheel_core.models.registry import most_pictures, open_editor
from flenwheel_core.requests.enrich import EnrichRequest, EnrichResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.picture_making import lora_files, made_record, make_pictures
from flenwheel_core.store.pictures import load_picture


def enrich(request: EnrichRequest, context: StageContext) -> EnrichResult:
    """Make every edit that is not made yet; all are kept in the plan's order."""
    _check(request, context)
    records = make_edits(request, context, request.items)
    return EnrichResult(images=context.store.put_images(records), count=len(records))


def make_edits(request: EnrichRequest, context: StageContext, items: Sequence[EditItem]) -> list[ImageRecord]:
    """Some edits of the plan; several processes may make theirs side by side, and `enrich` then finds all of them made."""
    return make_pictures(request, context, items, partial(_edits, request, context), "edits")


def _edits(
    request: EnrichRequest, context: StageContext, items: Sequence[EditItem]
) -> Iterator[tuple[Made, ImageRecord]]:
    planned = {item.key: item for item in items}
    context.progress.loading(request.editor)
    jobs = [_job(item, request, context) for item in items]
    loras = lora_files(request.loras, context)
    with open_editor(request.editor, context.settings, context.setup(loras, request.storage)) as editor:
        for made in editor.edit(jobs):
            yield made, _record(request, planned[made.key], made, editor.model)
        for phase in editor.phases:
            context.progress.note(phase.line())


def _check(request: EnrichRequest, context: StageContext) -> None:
    """Refuses a plan that names a picture the character does not have, or one key twice."""
    known = {record.digest for record in context.store.get_images(request.sources)}
    for item in request.items:
        if item.source not in known:
            raise InputError(
                f"The edit {item.key} starts from {item.source[:12]}, which is none of the sources.",
                remedy="Plan again: the sources changed since this plan was made.",
            )
    _check_references(request, context, known)
    if len({item.key for item in request.items}) < len(request.items):
        raise InputError("Two edits of the plan have the same key.", remedy="Give each edit a key of its own.")


def _check_references(request: EnrichRequest, context: StageContext, known: set[str]) -> None:
    """Refuses references that are no pictures of the character, or more of them than the editor takes, before anything is loaded."""
    with_more = [item for item in request.items if item.references]
    if not with_more:
        return
    most = most_pictures(resolve_model(request.editor, ModelRole.EDITOR, context.settings))
    for item in with_more:
        if 1 + len(item.references) > most:
            raise InputError(
                f"The edit {item.key} has {1 + len(item.references)} pictures, and the editor takes {most}.",
                remedy=f"Set enrich.references to {most} at most in the recipe, or name an editor that takes more.",
            )
        strange = [digest for digest in item.references if digest not in known]
        if strange:
            raise InputError(
                f"The edit {item.key} refers to {strange[0][:12]}, which is none of the sources.",
                remedy="Plan again: the sources changed since this plan was made.",
            )


def _job(item: EditItem, request: EnrichRequest, context: StageContext) -> EditJob:
    images = tuple(load_picture(context.store, digest) for digest in (item.source, *item.references))
    return EditJob(item.key, item.prompt, item.seed, request.sampler, images, request.shift)


def _record(request: EnrichRequest, item: EditItem, made: Made, model: str) -> ImageRecord:
    record = made_record(request, item, made, ImageKind.ENRICHED, model)
    return record.model_copy(update={"parents": (item.source, *item.references)})
