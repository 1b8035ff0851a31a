"""Ingest: files as a person keeps them become upright, clean, captioned sources and an identity fingerprint.

Nothing is dropped silently: every file that is left out, and every doubt about one that is kept, is a problem with its file's name.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
from PIL import Image

from flenwheel_core.base.errors import FlenwheelError, InputError, MissingWeightsError, NotFoundError
from flenwheel_core.datasets.captions import content_words
from flenwheel_core.documents.framings import Framing
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.documents.wording import fill
from flenwheel_core.identity.captions import labels_in, merged, names_only
from flenwheel_core.identity.fingerprint import less_sure, make_fingerprint, outlying_sources
from flenwheel_core.identity.given_captions import training_caption
from flenwheel_core.identity.protocols import Embedded, Verifier
from flenwheel_core.identity.readers import open_reader
from flenwheel_core.identity.subject_rules import rules_of
from flenwheel_core.identity.verifiers import open_verifier, separate_reader
from flenwheel_core.images.cutting import cut, mask_of
from flenwheel_core.images.decode import Decoded, Limits, decode
from flenwheel_core.images.decoders import close_decoders
from flenwheel_core.images.duplicates import CopyFinder
from flenwheel_core.images.masks import read_mask
from flenwheel_core.images.names import printable_path
from flenwheel_core.images.quality import measure
from flenwheel_core.models.registry import open_captioner
from flenwheel_core.plans.scenes import LEAST_HELD_OUT, PHOTOS, is_held_out, is_photo
from flenwheel_core.recipes.screening import IngestRecipe
from flenwheel_core.requests.ingest import IngestRequest, IngestResult, SourceFile
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.ingest_people import frame_people
from flenwheel_core.stages.ingest_source import Problems, Source
from flenwheel_core.stages.picture_making import lora_files
from flenwheel_core.store.pictures import encode_png, load_picture, save_picture

UNKNOWN_DIGEST = "0" * 64
CHUNK = 16
"""Pictures held in memory at once."""
AHEAD = 2
"""Pictures that are read while one is looked at."""
MINIMUM_EMBEDDED = 3
"""Fewer embedded sources give no spread to set a threshold by."""


def ingest(request: IngestRequest, context: StageContext) -> IngestResult:
    """The usable sources, their fingerprint, and everything that is wrong or missing."""
    problems = Problems()
    with ExitStack() as stack:
        context.progress.loading(f"verifier {request.verifier}")
        verifier = stack.enter_context(open_verifier(request.verifier, context.settings))
        sources = _read_files(request, context, problems)
        sources = _embedded(sources, verifier, context)
        framed = frame_people(sources, verifier.threshold_rule, request, context, problems)
        sources = _look(framed.sources, request, context)
        fingerprint = _fingerprint(sources, verifier, request, problems)
    _doubt_quality(sources, request, problems)
    records = [_described(source, request, problems) for source in sources]
    return IngestResult(
        sources=context.store.put_images(records),
        count=len(records),
        fingerprint=fingerprint,
        problems=tuple(problems.found),
        missing=(*framed.missing, *_missing(sources, fingerprint is not None, request)),
        masks=sum(record.mask is not None for record in records),
        framings=framed.framings,
    )


def _read_files(request: IngestRequest, context: StageContext, problems: Problems) -> list[Source]:
    """Decodes every file; leaves out what is unreadable, too small, or there already."""
    recipe, rules = request.recipe, rules_of(request.character.kind)
    copies = CopyFinder(recipe.duplicate_bits)
    sources: list[Source] = []
    seen: dict[str, str] = {}
    fresh: list[SourceFile] = []
    for file in request.files:
        if file.digest in seen:
            problems.drop(file, "duplicate", f"It is the same file as {printable_path(seen[file.digest])}.")
            continue
        seen[file.digest] = file.name
        fresh.append(file)
    for number, (file, decoded) in enumerate(_decoded(fresh, request, context), start=1):
        context.check_stop()
        context.progress.step(number, len(fresh), "files")
        if isinstance(decoded, FlenwheelError):
            problems.drop(file, "unreadable", " ".join(decoded.message.split("\n")))
            continue
        for note in decoded.notes:
            problems.doubt(file, "converted", note)
        if _too_small(file, decoded, recipe, problems):
            continue
        framing = file.framing or Framing()
        image = cut(decoded.image, framing)
        if min(image.size) < recipe.minimum_side_px:
            message = f"What was cut out of it is {min(image.size)} px; {recipe.minimum_side_px} are needed."
            problems.drop(file, "too_small", message)
            continue
        measures = measure(image)
        match = copies.find(measures)
        if match is not None and (rules.mirrored_is_copy or not match.mirrored):
            other = printable_path(sources[match.index].file.name)
            problems.drop(file, "duplicate", f"It shows the same picture as {other}{', mirrored' * match.mirrored}.")
            continue
        copies.add(measures)
        record = _store(image, file, request, context)
        mask = mask_of(decoded.image.size, framing, _given_mask(decoded, file, request, context, problems))
        kept = None if mask is None else context.store.put_blob(encode_png(mask, {}))
        record = record.model_copy(update={"mask": kept})
        sources.append(Source(file, record, measures, Labels(), Embedded(None)))
    return sources


def _decoded(
    files: Sequence[SourceFile], request: IngestRequest, context: StageContext
) -> Iterator[tuple[SourceFile, Decoded | FlenwheelError]]:
    """Every file with its picture, or with what is wrong with it, in their order; the next few are read meanwhile."""
    limits = Limits(
        maximum_megapixels=request.recipe.maximum_megapixels,
        maximum_side_px=request.recipe.maximum_side_px,
        least_side_px=request.recipe.minimum_side_px,
    )

    def read(file: SourceFile) -> Decoded | FlenwheelError:
        try:
            return decode(context.store.get_blob(file.digest), file.name, limits)
        except (InputError, MissingWeightsError, NotFoundError) as error:
            return error

    with ThreadPoolExecutor(AHEAD) as threads:
        reading: deque[tuple[SourceFile, Future[Decoded | FlenwheelError]]] = deque()
        try:
            for file in files:
                reading.append((file, threads.submit(read, file)))
                if len(reading) > AHEAD:
                    yield _next(reading, context)
            while reading:
                yield _next(reading, context)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            close_decoders()
            raise


def _next(
    reading: "deque[tuple[SourceFile, Future[Decoded | FlenwheelError]]]", context: StageContext
) -> tuple[SourceFile, Decoded | FlenwheelError]:
    file, future = reading.popleft()
    while not future.done():
        context.check_stop()
        wait([future], timeout=0.2)
    return file, future.result()


def _too_small(file: SourceFile, decoded: Decoded, recipe: IngestRecipe, problems: Problems) -> bool:
    """A picture is judged by its own size, not by what scaling down left of it."""
    side, kept = min(decoded.size), min(decoded.image.size)
    if side < recipe.minimum_side_px:
        problems.drop(file, "too_small", f"Its shorter side is {side} px; {recipe.minimum_side_px} are needed.")
    elif kept < recipe.minimum_side_px:
        times = max(decoded.size) / side
        message = f"It is {times:.0f} times as long as it is high or wide; cut out the part that shows the character."
        problems.drop(file, "too_long", message)
    return kept < recipe.minimum_side_px


def _store(image: Image.Image, file: SourceFile, request: IngestRequest, context: StageContext) -> ImageRecord:
    record = ImageRecord(
        digest=UNKNOWN_DIGEST,
        width=image.width,
        height=image.height,
        kind=ImageKind.SOURCE,
        stage=request.stage,
        request=request.key(),
        item=file.name,
        framing=file.framing,
    )
    return save_picture(context.store, image, record)


def _given_mask(
    decoded: Decoded, file: SourceFile, request: IngestRequest, context: StageContext, problems: Problems
) -> Image.Image | None:
    """The given mask of a source, at the size of the whole picture. One that cannot be used is a doubt, and the source has none."""
    if file.mask is None:
        return None
    limits = Limits(maximum_megapixels=request.recipe.maximum_megapixels, size_px=decoded.image.size)
    try:
        mask, size = read_mask(context.store.get_blob(file.mask), "Its mask", decoded.size, limits)
    except (InputError, MissingWeightsError, NotFoundError) as error:
        problems.doubt(file, "mask", f"{error.what.rstrip('.')}; it is learned without.")
        return None
    if size != decoded.size:
        shape, wanted = (f"{width}x{height}" for width, height in (size, decoded.size))
        problems.doubt(file, "mask", f"Its mask was scaled from {shape} to {wanted}.")
    return mask


def _embedded(sources: Sequence[Source], verifier: Verifier, context: StageContext) -> list[Source]:
    """Every source with its embedding, a few pictures at a time."""
    found: list[Source] = []
    for start in range(0, len(sources), CHUNK):
        context.check_stop()
        chunk = sources[start : start + CHUNK]
        embedded = verifier.embed([load_picture(context.store, source.record.digest) for source in chunk])
        found += [replace(source, embedded=one) for source, one in zip(chunk, embedded, strict=True)]
    return found


def _look(sources: Sequence[Source], request: IngestRequest, context: StageContext) -> list[Source]:
    """Reads what every source shows, and describes those without a caption, a few at a time."""
    looked: list[Source] = []
    with ExitStack() as stack:
        reader = captioner = None
        wanted = separate_reader(request.reader, request.verifier)
        if wanted is not None:
            context.progress.loading(f"reader {wanted}")
            reader = stack.enter_context(open_reader(wanted, context.settings))
        bare = any(not source.file.caption for source in sources)
        if request.captioner is not None and request.recipe.describe_with_captioner and bare:
            context.progress.loading(f"captioner {request.captioner}")
            setup = context.setup(lora_files(request.captioner_loras, context))
            captioner = stack.enter_context(open_captioner(request.captioner, context.settings, setup))
            context.progress.step(0, len(sources), "pictures looked at")
        for start in range(0, len(sources), CHUNK):
            context.check_stop()
            chunk = sources[start : start + CHUNK]
            images = [load_picture(context.store, source.record.digest) for source in chunk]
            reads = reader.read(images) if reader is not None else [Labels()] * len(chunk)
            for source, image, read in zip(chunk, images, reads, strict=True):
                seen = merged(read, source.embedded.labels or Labels())
                if source.file.caption:
                    # A person's words are believed before the reader's eyes, a model's words after them.
                    labels = merged(labels_in(source.file.caption), seen)
                elif captioner is not None:
                    said = captioner.caption([image])[0]
                    labels = merged(seen, labels_in(said))
                    if rules_of(request.character.kind).whole_captions:
                        source = replace(source, file=source.file.model_copy(update={"caption": content_words(said)}))
                    elif request.captioner_loras and names_only(said, request.character):
                        # It learned that from people's captions of this very character.
                        source = replace(source, file=source.file.model_copy(update={"caption": said}))
                else:
                    labels = seen
                looked.append(replace(source, labels=labels))
                if captioner is not None:  # everything else is done in a moment
                    context.check_stop()
                    context.progress.step(len(looked), len(sources), "pictures looked at")
    return looked


def _fingerprint(
    sources: Sequence[Source], verifier: Verifier, request: IngestRequest, problems: Problems
) -> Fingerprint | None:
    """The fingerprint; None if too few sources could be embedded. Pictures that are kept to be measured against are no part of it."""
    usable = []
    for source in sources:
        if source.embedded.problem == "profile_face":
            problems.doubt(source.file, "profile_face", "It is a profile; it is kept, but not used as a reference.")
        elif source.embedded.embedding is None:
            problems.doubt(source.file, "no_face", "No face was found in it; it is kept, but not used as a reference.")
        elif not (is_held_out(source.file.name) or _is_photo(source, request)):
            usable.append(source)
    if len(usable) < MINIMUM_EMBEDDED:
        return None
    sharpness = [
        source.embedded.sharpness if source.embedded.sharpness is not None else source.measures.sharpness
        for source in usable
    ]
    fingerprint = make_fingerprint(
        [source.record.digest for source in usable],
        [source.embedded.embedding or () for source in usable],
        verifier.threshold_rule,
        verifier=verifier.name,
        verifier_version=verifier.version,
        sharpness=sharpness,
    )
    rule = verifier.threshold_rule
    doubt = less_sure(fingerprint, rule)
    if doubt is not None:
        problems.doubt(usable[0].file, "look_alikes", doubt)
    odd = rules_of(request.character.kind).odd_source
    for index in outlying_sources(fingerprint.leave_one_out, rule):
        distance = fingerprint.leave_one_out[index]
        message = f"{odd}: it lies {distance:.2f} from the other sources."
        problems.doubt(usable[index].file, "unlike_the_others", message)
    return fingerprint


def _is_photo(source: Source, request: IngestRequest) -> bool:
    """True for a style's photograph: it shows how the world looks that is painted, not how."""
    return request.character.kind == "style" and is_photo(source.file.name)


def _doubt_quality(sources: Sequence[Source], request: IngestRequest, problems: Problems) -> None:
    if not sources:
        return
    photos = [source for source in sources if _is_photo(source, request)]
    if 0 < len(photos) < LEAST_HELD_OUT:
        problems.doubt(
            photos[0].file, "few_photos", f"Photographs are measured from {LEAST_HELD_OUT} on; it is not used."
        )
    median = float(np.median([source.measures.sharpness for source in sources]))
    sharp = rules_of(request.character.kind).sharp
    for source in sources:
        if sharp and source.measures.sharpness < request.recipe.blurred_below * median:
            problems.doubt(source.file, "blurred", "It is much less sharp than the other sources.")
        if source.measures.brightness < 20 or source.measures.clipped > 0.5:
            problems.doubt(source.file, "badly_exposed", "It is very dark, or large parts are pure black or white.")


def _described(source: Source, request: IngestRequest, problems: Problems) -> ImageRecord:
    """The source's record with its caption and labels."""
    given = source.file.caption
    template = fill(request.caption_template, source.labels, request.phrases, request.character)
    rules = rules_of(request.character.kind)
    traits = rules.learned_words(given or "")
    if traits:
        message = f"Its caption describes {rules.learned} ({', '.join(traits)}): the trigger cannot learn that."
        problems.doubt(source.file, "permanent_traits", message)
    caption = template
    if given:
        made = training_caption(given, request.character, request.text_tokens)
        caption = made.text
        for doubt in made.doubts:
            problems.doubt(source.file, doubt.code, doubt.message)
    return source.record.model_copy(update={"caption": caption, "labels": source.labels})


def _missing(sources: Sequence[Source], has_fingerprint: bool, request: IngestRequest) -> list[str]:
    """What must be added before a turn can start."""
    recipe = request.recipe
    missing = []
    learned = sum(not _is_photo(source, request) for source in sources)
    if learned < recipe.minimum_images:
        beside = f", besides {len(sources) - learned} in a folder {PHOTOS}" if learned < len(sources) else ""
        there = f"there are {learned}{beside}, {recipe.minimum_images} are needed"
        missing.append(f"{recipe.minimum_images - learned} more usable pictures ({there})")
    angles = sorted({source.labels.angle for source in sources if source.labels.angle is not None})
    unknown = all(source.labels.angle is None for source in sources)
    if not rules_of(request.character.kind).has_angles:
        return missing
    if sources and unknown and recipe.minimum_angles > 1:
        missing.append(
            f"the camera angles: none could be read; say them in captions, or name a reader (need {recipe.minimum_angles})"
        )
    elif sources and len(angles) < recipe.minimum_angles:
        missing.append(
            f"pictures from other sides: all show {', '.join(angles)}, {recipe.minimum_angles} angles are needed"
        )
    if sources and not has_fingerprint:
        found = sum(source.embedded.embedding is not None for source in sources)
        missing.append(f"pictures with a recognisable face: found in {found}, {MINIMUM_EMBEDDED} are needed")
    return missing
