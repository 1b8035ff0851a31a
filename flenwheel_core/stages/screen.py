"""Screening: what a person never needs to see is taken out, everything else is passed on with its figures."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flenwheel_core.base.errors import FlenwheelError, InputError
from flenwheel_core.documents.images import ImageRecord, Labels
from flenwheel_core.documents.scores import BELIEFS, Fingerprint, ReasonCode, Screening, ScreenReason
from flenwheel_core.identity.framing import Frames
from flenwheel_core.identity.people import character_in
from flenwheel_core.identity.people_weights import FETCH
from flenwheel_core.identity.protocols import Beliefs, Embedded
from flenwheel_core.identity.readers import open_reader
from flenwheel_core.identity.screening import (
    RANK,
    Finding,
    FingerprintSpace,
    Identity,
    LabelLimits,
    Limits,
    judge_copy,
    judge_identity,
    judge_labels,
    judge_quality,
    judge_spoiled,
    judge_writing,
    limits_of,
    outcome_of,
    sorted_reasons,
    subject_sharpness,
)
from flenwheel_core.identity.spoiled import open_spoil_detector
from flenwheel_core.identity.subject_rules import rules_of
from flenwheel_core.identity.verifiers import open_verifier, require_same_version, separate_reader
from flenwheel_core.identity.writing import (
    Writing,
    WritingFinder,
    WritingOfSources,
    asked_for_writing,
    looks_for_writing,
    open_writing_finder,
)
from flenwheel_core.images.duplicates import CopyFinder, Match, embedding_copies
from flenwheel_core.images.quality import Measures, measure
from flenwheel_core.requests.screen import ScreenRequest, ScreenResult
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture

NO_FINDER = (
    "Writing that nobody asked for is not looked for: its weights were not here when this was asked for. "
    f"For turns to come: {FETCH}, on every machine."
)
CHUNK = 64
"""Pictures held in memory at once."""


@dataclass(frozen=True)
class Seen:
    """All that is kept of a candidate once its pixels are gone."""

    record: ImageRecord
    measures: Measures | None
    embedded: Embedded | None
    """Without its embedding, which is large: `identity` says where it lay."""
    identity: Identity | None
    read: Labels
    beliefs: Beliefs
    """How sure what was read is."""
    moved: ScreenReason | None = None
    spoiled: float | None = None
    """The chance that its face is spoiled."""
    writing: Writing | None = None
    writing_allowed: float = 1.0
    """The share of the picture that writing may cover."""
    problem: str = ""


def screen(request: ScreenRequest, context: StageContext) -> ScreenResult:
    """Screens every candidate. Raises MissingWeightsError before the first picture if the verifier is not available."""
    records = context.store.get_images(request.images)
    recipe = request.recipe
    references = _measured(context, context.store.get_images(request.references), recipe.near_copy_bits)
    pool = context.store.get_images(request.pool) if request.pool is not None else ()
    pool_copies = _measured(context, pool, recipe.duplicate_bits)
    rules = rules_of(request.character.kind)
    limits = limits_of(recipe, request.fingerprint, strict=request.strict, references=references.measures, rules=rules)
    seen, alike = _look(request, records, context)
    rows = [_row(one, _judge(one, limits, references, pool_copies, request), request.fingerprint) for one in seen]
    rows = _link_duplicates(rows, seen, alike, limits)
    return ScreenResult(
        screenings=context.store.put_screenings(rows),
        passed=sum(row.outcome == "pass" for row in rows),
        unsure=sum(row.outcome == "unsure" for row in rows),
        failed=sum(row.outcome == "fail" for row in rows),
    )


@dataclass(frozen=True)
class Known:
    """Pictures that candidates may copy."""

    records: tuple[ImageRecord, ...]
    measures: tuple[Measures, ...]
    finder: CopyFinder

    def copied_by(self, seen: Seen) -> tuple[Match, str] | None:
        """The match and the digest of the picture that `seen` copies; a picture is no copy of itself."""
        if seen.measures is None:
            return None
        match = self.finder.find(seen.measures)
        if match is None or self.records[match.index].digest == seen.record.digest:
            return None
        return match, self.records[match.index].digest


def _measured(context: StageContext, records: Sequence[ImageRecord], bits: int) -> Known:
    finder = CopyFinder(bits)
    measured = []
    for _, image in _loaded(context.store, records):
        if isinstance(image, FlenwheelError):
            raise image
        measured.append(measure(image))
        finder.add(measured[-1])
    return Known(tuple(records), tuple(measured), finder)


def _loaded(store: Store, records: Sequence[ImageRecord]) -> Iterator[tuple[ImageRecord, Image.Image | FlenwheelError]]:
    """Pictures in order, decoded a few ahead; one that cannot be read comes as its error."""

    def load(record: ImageRecord) -> Image.Image | FlenwheelError:
        try:
            return load_picture(store, record.digest)
        except FlenwheelError as error:
            return error
        except OSError as error:
            return InputError(f"The picture {record.digest[:12]} cannot be read.", why=str(error))

    with ThreadPoolExecutor(2) as threads:
        for start in range(0, len(records), CHUNK):
            chunk = records[start : start + CHUNK]
            yield from zip(chunk, threads.map(load, chunk), strict=True)


def _look(
    request: ScreenRequest, records: Sequence[ImageRecord], context: StageContext
) -> tuple[list[Seen], list[int | None]]:
    """Embeds, reads and measures every candidate, a chunk at a time; and, where embeddings tell, which one each repeats."""
    seen: list[Seen] = []
    vectors: list[NDArray[np.float32] | None] = []
    space = FingerprintSpace(request.fingerprint)
    frames = Frames(context.store, context.store.get_images(request.references))
    with ExitStack() as stack:
        context.progress.loading(f"verifier {request.verifier}")
        verifier = stack.enter_context(open_verifier(request.verifier, context.settings))
        require_same_version(verifier, request.fingerprint)
        reader = None
        wanted = separate_reader(request.reader, request.verifier)
        if request.recipe.check_labels and wanted is not None:
            context.progress.loading(f"reader {wanted}")
            reader = stack.enter_context(open_reader(wanted, context.settings))
        spoils = None
        if request.recipe.spoiled_unsure_above < 1:
            spoils = stack.enter_context(open_spoil_detector(request.reader, request.verifier, context.settings))
        finder = None
        if looks_for_writing(request.verifier, request.recipe.writing_unsure_above):
            finder = stack.enter_context(open_writing_finder(request.writing_finder, context.settings))
            if finder is None:
                context.progress.note(NO_FINDER)
        written = _written(finder, context.store, request)
        for start in range(0, len(records), CHUNK):
            context.check_stop()
            pairs = list(_loaded(context.store, records[start : start + CHUNK]))
            images = [image for _, image in pairs if isinstance(image, Image.Image)]
            people = [character_in(one, space) for one in verifier.embed(images)]
            chances = iter(spoils.chances(images, [one for one, _ in people]) if spoils else [None] * len(images))
            embedded = iter(people)
            reads = iter(reader.look(images) if reader is not None else [None] * len(images))
            for record, image in pairs:
                if not isinstance(image, Image.Image):
                    seen.append(Seen(record, None, None, None, Labels(), {}, problem=image.what))
                    vectors.append(None)
                    continue
                told = next(reads)
                one, identity = next(embedded)
                small = replace(one, embedding=None, others=())
                shown, beliefs = told or (one.labels or Labels(), one.beliefs)
                moved = frames.moved(record, image)
                seen.append(
                    Seen(
                        record,
                        measure(image),
                        small,
                        identity,
                        shown,
                        beliefs,
                        moved,
                        spoiled=next(chances),
                        writing=finder.find(image) if finder and not asked_for_writing(record) else None,
                        writing_allowed=written.allowed(record),
                    )
                )
                keep = verifier.sees_whole_picture and one.embedding is not None
                vectors.append(np.asarray(one.embedding, dtype=np.float32) if keep else None)
            context.progress.step(len(seen), len(records), "images")
    return seen, _alike(vectors, request.recipe.duplicate_similarity)


def _written(finder: WritingFinder | None, store: Store, request: ScreenRequest) -> WritingOfSources:
    """How much writing the sources show."""
    if finder is None:
        return WritingOfSources(())
    pairs = _loaded(store, store.get_images(request.references))
    found = ((record.digest, finder.find(image)) for record, image in pairs if isinstance(image, Image.Image))
    return WritingOfSources(tuple(found))


def _alike(vectors: Sequence[NDArray[np.float32] | None], similarity: float) -> list[int | None]:
    """For each candidate an earlier one with nearly the same whole-picture embedding, or None."""
    known = {index: vector for index, vector in enumerate(vectors) if vector is not None}
    found: list[int | None] = [None] * len(vectors)
    if len(known) > 1:
        indices = list(known)
        copies = embedding_copies(np.stack(list(known.values())), similarity)
        for index, target in zip(indices, copies, strict=True):
            found[index] = indices[target] if target is not None else None
    return found


def _judge(seen: Seen, limits: Limits, references: Known, pool: Known, request: ScreenRequest) -> list[Finding]:
    if seen.measures is None or seen.embedded is None:
        return [("fail", ScreenReason(code="unreadable", detail=seen.problem))]
    asked = seen.record.labels
    findings = judge_identity(seen.embedded, seen.identity, asked, limits)
    findings += judge_quality(seen.measures, seen.embedded, limits)
    findings += judge_spoiled(seen.spoiled, limits)
    findings += judge_writing(seen.writing, seen.writing_allowed, limits)
    reference = references.copied_by(seen)
    findings += judge_copy(reference[0] if reference else None, seen.identity, limits)
    if not any(reason.code == "near_copy" for _, reason in findings):
        known = pool.copied_by(seen)
        if known is not None:
            findings.append(("fail", _duplicate(known[1], known[0].bits, limits)))
    if seen.moved is not None:
        # A hint: the picture may be good for the LoRA and still teach the editor to move everything.
        findings.append(("pass", seen.moved))
    if request.recipe.check_labels:
        person = request.character.kind == "person"
        certain = seen.embedded.labels_certain
        may_fail = limits.rules.labels_may_fail
        limits_of_belief = LabelLimits(
            request.recipe, person=person, strict=request.strict, certain=certain, may_fail=may_fail
        )
        findings += judge_labels(asked, seen.read, seen.beliefs, limits_of_belief)
    return findings


def _duplicate(digest: str, bits: float | None, limits: Limits) -> ScreenReason:
    code: ReasonCode = "duplicate_of"
    return ScreenReason(code=code, value=bits, limit=limits.recipe.duplicate_bits, detail=digest)


def _row(seen: Seen, findings: list[Finding], fingerprint: Fingerprint) -> Screening:
    identity = seen.identity
    duplicate = next((reason.detail for _, reason in findings if reason.code == "duplicate_of"), None)
    return Screening(
        image=seen.record.digest,
        outcome=outcome_of(findings),
        reasons=sorted_reasons(findings),
        verifier=fingerprint.verifier,
        verifier_version=fingerprint.verifier_version,
        distance=identity.distance if identity else None,
        similarity=identity.similarity if identity else None,
        nearest_reference=identity.nearest if identity else None,
        nearest_distance=identity.nearest_distance if identity else None,
        sharpness=subject_sharpness(seen.measures, seen.embedded) if seen.measures else None,
        brightness=seen.measures.brightness if seen.measures else None,
        duplicate_of=duplicate,
        read=seen.read,
        spoiled=seen.spoiled,
        beliefs=BELIEFS if seen.embedded is not None else None,
    )


def _link_duplicates(
    rows: list[Screening], seen: list[Seen], alike: list[int | None], limits: Limits
) -> list[Screening]:
    """Among candidates that copy each other the best one stays, the others fail and point to it."""
    finder = CopyFinder(limits.recipe.duplicate_bits)
    kept: list[int] = []
    groups: dict[int, int] = {}
    linked = list(rows)
    for index in sorted(range(len(rows)), key=lambda at: (RANK[rows[at].outcome], _far(rows[at]), at)):
        measures = seen[index].measures
        if measures is None or rows[index].outcome == "fail":
            continue
        match = finder.find(measures)
        earlier = alike[index]
        group = index if earlier is None else earlier
        original = kept[match.index] if match is not None else groups.get(group)
        if original is None:
            finder.add(measures)
            kept.append(index)
            groups[group] = index
            continue
        reason = _duplicate(rows[original].image, match.bits if match else None, limits)
        linked[index] = rows[index].model_copy(
            update={
                "outcome": "fail",
                "reasons": (reason, *rows[index].reasons),
                "duplicate_of": rows[original].image,
            }
        )
    return linked


def _far(row: Screening) -> float:
    return row.distance if row.distance is not None else np.inf
