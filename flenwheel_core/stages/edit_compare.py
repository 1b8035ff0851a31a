"""The stage `edit_compare`: two editors make the same held-out edits with the same seeds, and are measured alike."""

from collections.abc import Sequence

from PIL.Image import Image

from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels, LoraUse
from flenwheel_core.documents.prompts import EditItem
from flenwheel_core.evaluation.editors import (
    edit_scorecard,
    followed,
    measure_edit,
    nearness,
    readable,
)
from flenwheel_core.evaluation.promotion.editors import compare_editors, margins_of, may_be_worn_together
from flenwheel_core.identity.people import character_in
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.readers import open_reader
from flenwheel_core.identity.screening import FingerprintSpace
from flenwheel_core.identity.verifiers import open_verifier, require_same_version
from flenwheel_core.images.sheets import Tile, contact_sheet
from flenwheel_core.requests.edit_compare import (
    ComparedEdit,
    EditCompareRequest,
    EditCompareResult,
    EditorScorecard,
    EditScore,
    WornTogether,
)
from flenwheel_core.requests.enrich import EnrichRequest, EnrichResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.enrich import enrich
from flenwheel_core.stages.lesson_references import references_taken
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png, load_picture

CHUNK = 32
SHEET_ROWS = 24
HELD_OUT = CharacterRef(name="held-out", trigger="held_out", class_word="subject", kind="subject")


def edit_compare(request: EditCompareRequest, context: StageContext) -> EditCompareResult:
    """Scorecards of the present editor and of the challenger, and what their comparison says."""
    given = references_taken(request.editor, [item.references for item in request.items], context)
    items = [item.model_copy(update={"references": taken}) for item, taken in zip(request.items, given, strict=True)]
    request = request.model_copy(update={"items": tuple(items)})
    if request.fingerprints:
        with open_verifier(request.verifier, context.settings) as verifier:
            for fingerprint in request.fingerprints.values():
                require_same_version(verifier, fingerprint)
    drawn = [_draw(request, loras, context) for loras in (request.champion, request.challenger)]
    answers = _answers(request, context)
    champion, challenger = (
        _score(request, records, loras, answers, context)
        for records, loras in zip(drawn, (request.champion, request.challenger), strict=True)
    )
    return EditCompareResult(
        champion=champion,
        challenger=challenger,
        comparison=compare_editors(champion, challenger, margins_of(request)),
        together=_together(request, challenger, answers, context),
        images=context.store.put_images([record for records in drawn for record in records]),
        sheet=context.store.put_blob(encode_png(_sheet(request, champion, challenger, context), {})),
    )


def _together(
    request: EditCompareRequest,
    challenger: EditorScorecard,
    answers: dict[str, tuple[Embedded, Labels]],
    context: StageContext,
) -> WornTogether | None:
    """The edits of characters that have a LoRA on this very model, made with it beside the challenger's."""
    chosen = [item for item in request.items if item.character in request.together]
    if not chosen:
        return None
    made: dict[str, ImageRecord] = {}
    for name in dict.fromkeys(item.character for item in chosen):
        part = request.model_copy(update={"items": tuple(item for item in chosen if item.character == name)})
        records = _draw(part, (*request.challenger, request.together[name]), context)
        made |= {record.item: record for record in records}
    part = request.model_copy(update={"items": tuple(chosen)})
    worn = _score(part, [made[item.key] for item in chosen], request.challenger, answers, context)
    keys = {item.key for item in chosen}
    alone = edit_scorecard(request.challenger, [edit for edit in challenger.edits if edit.key in keys])
    return may_be_worn_together(alone, worn, margins_of(request))


def held_out_edits(request: EditCompareRequest, loras: tuple[LoraUse, ...], store: Store) -> EnrichRequest:
    """The held-out edits by one editor as an enrichment of their own: a champion makes them once, ever."""
    sources = dict.fromkeys(digest for item in request.items for digest in (item.source, *item.references))
    return EnrichRequest(
        character=HELD_OUT,
        sources=store.put_images([_source(digest) for digest in sources]),
        items=tuple(
            EditItem(
                key=item.key,
                source=item.source,
                prompt=item.prompt,
                seed=item.seed,
                labels=item.labels,
                references=item.references,
            )
            for item in request.items
        ),
        editor=request.editor,
        loras=loras,
        sampler=request.sampler,
        turn=0,
        storage=request.storage,
        shift=request.shift,
    )


def _draw(request: EditCompareRequest, loras: tuple[LoraUse, ...], context: StageContext) -> tuple[ImageRecord, ...]:
    edits = held_out_edits(request, loras, context.store)
    done = context.store.get_result(edits, EnrichResult)
    if done is None:
        context.store.put_request(edits)
        done = enrich(edits, context)
        context.store.put_result(edits, done)
    return context.store.get_images(done.images)


def _source(digest: str) -> ImageRecord:
    return ImageRecord(
        digest=digest, width=0, height=0, kind=ImageKind.SOURCE, stage="held-out", request=digest, item=digest[:12]
    )


def _answers(request: EditCompareRequest, context: StageContext) -> dict[str, tuple[Embedded, Labels]]:
    """What verifier and reader make of the right answers, by digest: what they misjudge there they cannot judge in an edit."""
    targets = tuple(dict.fromkeys(item.target for item in request.items))
    return dict(zip(targets, zip(*_look(request, targets, context), strict=True), strict=True))


def _score(
    request: EditCompareRequest,
    records: Sequence[ImageRecord],
    loras: tuple[LoraUse, ...],
    answers: dict[str, tuple[Embedded, Labels]],
    context: StageContext,
) -> EditorScorecard:
    context.check_stop()
    embedded, seen = _look(request, [record.digest for record in records], context)
    spaces = {name: FingerprintSpace(fingerprint) for name, fingerprint in request.fingerprints.items()}
    edits = []
    for item, record, found, labels in zip(request.items, records, embedded, seen, strict=True):
        answer, read = answers[item.target]
        identity, kept = _identity(request, spaces, item.character, found)
        if _identity(request, spaces, item.character, answer)[1] is False:
            kept = None
        done = followed(readable(item.labels, read), labels)
        source, target, made = (
            load_picture(context.store, digest) for digest in (item.source, item.target, record.digest)
        )
        measured = measure_edit(source, target, made)
        rejected = None if item.rejected is None else load_picture(context.store, item.rejected)
        near = None if rejected is None else nearness(rejected, target, made)
        edits.append(
            EditScore(
                key=item.key,
                image=record.digest,
                passed=kept is not False and done is not False,
                identity=identity,
                identity_kept=kept,
                followed=done,
                target_error=round(measured.target_error, 4) if item.corrected else None,
                nearness=None if near is None else round(near, 4),
                kept_psnr_db=None if measured.kept_psnr_db is None else round(measured.kept_psnr_db, 4),
                kept_ssim=None if measured.kept_ssim is None else round(measured.kept_ssim, 5),
            )
        )
    return edit_scorecard(loras, edits)


def _identity(
    request: EditCompareRequest, spaces: dict[str, FingerprintSpace], character: str, found: Embedded
) -> tuple[float | None, bool | None]:
    """Similarity to the character, and whether it is near enough; None where that is not known."""
    located = character_in(found, spaces[character])[1] if character in spaces else None
    if located is None:
        return None, None
    return located.similarity, located.distance <= request.fingerprints[character].threshold


def _look(
    request: EditCompareRequest, pictures: Sequence[str], context: StageContext
) -> tuple[list[Embedded], list[Labels]]:
    embedded: list[Embedded] = []
    chunks = [pictures[start : start + CHUNK] for start in range(0, len(pictures), CHUNK)]
    with open_verifier(request.verifier, context.settings) as verifier:
        for chunk in chunks:
            embedded += verifier.embed([load_picture(context.store, digest) for digest in chunk])
    seen = [found.labels or Labels() for found in embedded]
    if request.reader is not None:
        with open_reader(request.reader, context.settings) as reader:
            seen = [
                labels
                for chunk in chunks
                for labels in reader.read([load_picture(context.store, digest) for digest in chunk])
            ]
    return embedded, seen


def _sheet(
    request: EditCompareRequest, champion: EditorScorecard, challenger: EditorScorecard, context: StageContext
) -> Image:
    tiles = []
    rows = list(zip(request.items, champion.edits, challenger.edits, strict=True))[:SHEET_ROWS]
    for item, before, now in rows:
        tiles += [
            Tile(load_picture(context.store, item.source), ("source", item.prompt)),
            Tile(load_picture(context.store, item.target), ("right answer",)),
            _tile("before", before, item, context),
            _tile("now", now, item, context),
        ]
    return contact_sheet(tiles, columns=4, title="Held-out edits")


def _tile(name: str, score: EditScore, item: ComparedEdit, context: StageContext) -> Tile:
    identity = "" if score.identity is None else f", identity {score.identity:.2f}"
    error = "" if score.nearness is None else f", nearness {score.nearness:+.1f}"
    text = f"{name}{error}{identity}"
    return Tile(load_picture(context.store, score.image), (text, item.character), good=score.passed)
