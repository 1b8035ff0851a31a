"""A simulated reviewer for the nano world: it judges by the renderer's ground truth, never by the screening it is meant to check.

For demos, tests and benchmarks only. Everything it decides is signed "simulated reviewer".
"""

import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from flenwheel_core.base.ids import derive_seed
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.gates.session import Reviews
from flenwheel_core.identity.readers import open_reader
from flenwheel_core.identity.verifiers import open_verifier
from flenwheel_core.nano.threshold import SAME_CHARACTER
from flenwheel_core.nano.world import Character, View, apply_instruction, make_character, parse_instruction, render
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png, load_picture

if TYPE_CHECKING:
    from PIL.Image import Image

AUTHOR = "simulated reviewer"
TRUTH_VIEWS = 3
CORRECTION_TRIES = 24
"""Right answers differ in framing and in details of the background: of so many the one nearest to the edit is given."""
FACE_LEVELS = 12
"""A pixel that another expression moves by more levels is painted over."""


@dataclass(frozen=True)
class Truth:
    """What the renderer knows of a demo character."""

    character_seed: int
    source_views: Mapping[str, View]
    """The view each source file was rendered from, by file name."""


@dataclass(frozen=True)
class Judged:
    """What the reviewer thinks of one picture."""

    image: str
    verdict: Verdict
    reasons: tuple[str, ...]
    similarity: float
    correction: str | None = None


def review_gate(
    store: Store, settings: Settings, gate: str, truth: Truth, *, reference: str = "nano", errors: float = 0.0
) -> list[Judged]:
    """Decides about every picture of an open gate and writes the decisions into its journal. Repeating it changes nothing.

    With `errors`, about so large a share of the verdicts is the wrong way round, the same ones each time.
    """
    reviews = Reviews(store)
    session = reviews.get(gate)
    records = reviews.images(session)
    done = reviews.current(gate)
    judged = judge(store, settings, records, truth, reference=reference)
    judged = [_turned(item) if _errs(gate, item.image, errors) else item for item in judged]
    for item in judged:
        if item.image in done:
            continue
        reviews.decide(
            gate,
            Decision(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{gate}/{item.image}")),
                at=datetime.now(UTC),
                author=AUTHOR,
                image=item.image,
                verdict=item.verdict,
                reasons=item.reasons,
                note=f"similarity to the true character {item.similarity:.2f}",
                correction=item.correction,
            ),
        )
    return judged


def _errs(gate: str, image: str, share: float) -> bool:
    return derive_seed(0, "reviewer errs", gate, image) % 10_000 < share * 10_000


def _turned(item: Judged) -> Judged:
    """The verdict of somebody who looked at the picture wrongly."""
    wrong = Verdict.REJECT if item.verdict is Verdict.GOOD else Verdict.GOOD
    return replace(item, verdict=wrong, reasons=("looked wrongly",) if wrong is Verdict.REJECT else (), correction=None)


def judge(
    store: Store, settings: Settings, records: Sequence[ImageRecord], truth: Truth, *, reference: str = "nano"
) -> list[Judged]:
    """A verdict for each picture: the character by embeddings of true renders, the view by the reader.

    An edit that kept the character but missed its instruction is corrected: where only the expression is wrong the face is painted over, as
    a person would, else it gets the exact right answer. What the reader misses in the right answer too (a mouth behind hair) cannot be
    seen and is not held against the edit.
    """
    character = make_character(truth.character_seed)
    images = [load_picture(store, record.digest) for record in records]
    with open_verifier(reference, settings) as verifier, open_reader(reference, settings) as reader:
        true_mean = _mean([embedded.embedding for embedded in verifier.embed(_true_renders(character))])
        embeddings = [embedded.embedding for embedded in verifier.embed(images)]
        seen = reader.read(images)
        missed = [_missed(record.labels, labels) for record, labels in zip(records, seen, strict=True)]
        answers = {
            index: found
            for index, record in enumerate(records)
            if missed[index] and (found := _answers(record, images[index], seen[index], truth, store))
        }
        every = [answer for found in answers.values() for answer in found]
        read = iter(reader.read(every) if every else [])
        missed_in = {index: [_missed(records[index].labels, next(read)) for _ in answers[index]] for index in answers}
    judged = []
    for index, (record, embedding) in enumerate(zip(records, embeddings, strict=True)):
        similarity = -1.0 if embedding is None else float(np.dot(_unit(embedding), true_mean))
        unseen = missed_in[index][-1] if index in answers else ()
        reasons = (() if similarity >= SAME_CHARACTER else ("identity",)) + tuple(
            reason for reason in missed[index] if reason not in unseen
        )
        verdict = Verdict.GOOD if not reasons else Verdict.REJECT
        correction = None
        if reasons and "identity" not in reasons and index in answers:
            verdict = Verdict.NEEDS_CORRECTION
            best = min(range(len(answers[index])), key=lambda number: len(missed_in[index][number]))
            correction = store.put_blob(encode_png(answers[index][best], {"flenwheel.made_by": AUTHOR}))
        judged.append(Judged(record.digest, verdict, reasons, similarity, correction))
    return judged


def _true_renders(character: Character) -> "list[Image]":
    from flenwheel_core.documents.images import ANGLES, EXPRESSIONS

    views = [
        View(
            angle=angle, expression=EXPRESSIONS[(index + number) % 4], background="studio", lighting="day", seed=number
        )
        for index, angle in enumerate(ANGLES)
        for number in range(TRUTH_VIEWS)
    ]
    return [render(character, view) for view in views]


def _missed(asked: Labels, seen: Labels) -> tuple[str, ...]:
    """Reasons for which the picture does not show what was asked for; what the reader cannot tell counts as shown."""
    missed = []
    if asked.expression is not None and seen.expression not in (None, asked.expression):
        missed.append("expression")
    if any(
        wanted is not None and found not in (None, wanted)
        for wanted, found in ((asked.angle, seen.angle), (asked.pose, seen.pose))
    ):
        missed.append("angle")
    if asked.background is not None and seen.background not in (None, asked.background):
        missed.append("background")
    return tuple(missed)


def _answers(record: ImageRecord, edit: "Image", seen: Labels, truth: Truth, store: Store) -> "tuple[Image, ...]":
    """Corrections of an edit, the one that changes it least first, the exact right answer last; none if its source is unknown."""
    if record.kind is not ImageKind.ENRICHED or record.prompt is None or not record.parents:
        return ()
    source = _source_name(record.parents[0], store)
    if source is None or source not in truth.source_views:
        return ()
    view, asked = truth.source_views[source], parse_instruction(record.prompt)
    character = make_character(truth.character_seed)
    views = [
        apply_instruction(view, asked, derive_seed(record.seed or 0, "answer", number))
        for number in range(CORRECTION_TRIES)
    ]
    answers = [render(character, view, size=record.width) for view in views]
    whole = min(answers, key=lambda answer: _gap(answer, edit))
    if _missed(record.labels, seen) != ("expression",) or seen.expression is None:
        return (whole,)
    wrong = [render(character, replace(view, expression=seen.expression), size=record.width) for view in views]
    return _painted_over(answers, wrong, edit), whole


def _painted_over(answers: "Sequence[Image]", wrong: "Sequence[Image]", edit: "Image") -> "Image":
    """The edit with what another expression changes taken from the right answer whose face lies most like the edit's.

    `wrong` are the answers with the expression that the edit shows.
    """
    from PIL import Image, ImageChops, ImageFilter

    found = []
    for right, shown in zip(answers, wrong, strict=True):
        changed = (
            ImageChops.difference(right, shown).convert("L").point(lambda level: 255 if level > FACE_LEVELS else 0)
        )
        place = wide = changed.filter(ImageFilter.MaxFilter(5))
        for _ in range(5):  # 25 wide in all: the same maximum in small windows, which costs less
            wide = wide.filter(ImageFilter.MaxFilter(5))
        around = ImageChops.subtract(wide, place)
        found.append((_gap(right, edit, around), right, place))
    _, right, place = min(found, key=lambda item: item[0])
    return Image.composite(right, edit.convert("RGB"), place.filter(ImageFilter.GaussianBlur(0.7)))


def _gap(first: "Image", second: "Image", where: "Image | None" = None) -> float:
    """Mean difference in levels, of all or of the places where `where` is not black."""
    one, other = (np.asarray(image.convert("RGB"), dtype=np.float32) for image in (first, second))
    gaps = np.abs(one - other).mean(axis=2)
    chosen = gaps if where is None else gaps[np.asarray(where) > 0]
    return float(chosen.mean()) if chosen.size else float("inf")


def _source_name(digest: str, store: Store) -> str | None:
    """The file name a source was ingested from, as its PNG says."""
    from PIL import Image

    with Image.open(io.BytesIO(store.get_blob(digest))) as image:
        text = getattr(image, "text", {})
    return text.get("flenwheel.item")


def _unit(vector: Sequence[float]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    array = np.asarray(vector, dtype=np.float64)
    return array / np.linalg.norm(array)


def _mean(vectors: "Sequence[Sequence[float] | None]") -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return _unit(np.mean([_unit(vector) for vector in vectors if vector is not None], axis=0).tolist())
