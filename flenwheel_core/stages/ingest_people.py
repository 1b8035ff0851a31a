"""Several people in a source: the character is found by who is in most of the pictures, and the others are left out of it.

What a person said about a picture (its framing in the studio) stands: such a picture is never framed anew, and tells who the
character is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flenwheel_core.documents.framings import Box, FaceSeen, Framing, SourceFraming
from flenwheel_core.identity.beside import framing_for
from flenwheel_core.identity.fingerprint import ThresholdRule
from flenwheel_core.identity.people import CommonPerson, as_character, common_person, people_in
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.images.cutting import cut, mask_of
from flenwheel_core.images.quality import measure
from flenwheel_core.requests.ingest import IngestRequest
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.ingest_source import Problems, Source
from flenwheel_core.store.pictures import encode_png, load_picture, save_picture


@dataclass(frozen=True)
class Framed:
    """The sources after everybody else was left out, how each was framed, and what a person must say first."""

    sources: list[Source]
    framings: tuple[SourceFraming, ...]
    missing: tuple[str, ...]


def frame_people(
    sources: Sequence[Source], rule: ThresholdRule, request: IngestRequest, context: StageContext, problems: Problems
) -> Framed:
    """Takes the character for the subject of every source, and leaves the others out of those that show several people."""
    seen = [replace(source, embedded=_unhidden(source)) for source in sources]
    told = [index for index, source in enumerate(seen) if source.file.framing is not None and _alone(source)]
    faces = [[one.embedding or () for one in people_in(source.embedded)] for source in seen]
    common = common_person(faces, rule.distance, rule.cap, told)
    several = any(len(row) > 1 for row in faces)
    if common is None or not several:
        return Framed(seen, tuple(_by_person(source, None) for source in seen if source.file.framing is not None), ())
    framed, framings = [], []
    for index, source in enumerate(seen):
        one, framing = _framed(source, index, common, request, context, problems)
        framed.append(one)
        if framing is not None:
            framings.append(framing)
    missing: tuple[str, ...] = ()
    if common.rival:
        missing = (
            f"who the character is: two people are in {common.rival} pictures each; cut one picture to the character",
        )
    return Framed(framed, tuple(framings), missing)


def _framed(
    source: Source, index: int, common: CommonPerson, request: IngestRequest, context: StageContext, problems: Problems
) -> tuple[Source, SourceFraming | None]:
    chosen = common.chosen[index]
    distance = min(common.distances[index], default=None)
    by_person = source.file.framing is not None
    people = people_in(source.embedded)
    if len(people) < 2:
        return source, _by_person(source, distance) if by_person else None
    if chosen is None:
        message = f"It shows {len(people)} people, and none of them is clearly the character; cut it, or take it back."
        problems.doubt(source.file, "unknown_person", message)
        return source, _shown(source, None, Framing(), by_person=by_person)
    source = replace(source, embedded=as_character(source.embedded, chosen))
    if by_person or not request.recipe.frame_people:
        if not by_person:
            message = f"It shows {len(people)} people and is learned whole: the others are learned with the character."
            problems.doubt(source.file, "several_people", message)
        return source, _shown(source, distance, source.file.framing or Framing(), by_person=by_person)
    image = load_picture(context.store, source.record.digest)
    box, rest = source.embedded.box, [one.box for one in source.embedded.others if one.box is not None]
    assert box is not None, "faces have boxes"
    framing = framing_for(image.size, box, rest, request.recipe.minimum_side_px)
    shown = _shown(source, distance, framing, by_person=False)
    how = "cut to the character" if framing.crop is not None else "kept whole"
    hidden = f", {len(framing.hidden)} hidden from training" if framing.hidden else ""
    problems.doubt(source.file, "several_people", f"It shows {len(people)} people; it was {how}{hidden}. Look at it.")
    source = _cut(source, framing, context)
    return source, shown.model_copy(update={"picture": source.record.digest})


def _cut(source: Source, framing: Framing, context: StageContext) -> Source:
    """The source as the framing leaves it, stored."""
    store = context.store
    whole = load_picture(store, source.record.digest)
    given = None if source.record.mask is None else load_picture(store, source.record.mask)
    mask, kept = mask_of(whole.size, framing, given), cut(whole, framing)
    facts = {"mask": None if mask is None else store.put_blob(encode_png(mask, {})), "framing": framing}
    record = save_picture(store, kept, source.record.model_copy(update=facts))
    return replace(source, record=record, measures=measure(kept) if framing.crop is not None else source.measures)


def _unhidden(source: Source) -> Embedded:
    """Without the people whom a person hid in this picture."""
    framing, people = source.file.framing, people_in(source.embedded)
    if framing is None or not framing.hidden or not people:
        return source.embedded
    kept = [one for one in people if not _is_hidden(one, source, framing)]
    return replace(kept[0], others=tuple(kept[1:])) if kept else source.embedded


def _is_hidden(one: Embedded, source: Source, framing: Framing) -> bool:
    if one.box is None:
        return False
    whole = framing.crop or Box(left=0, top=0, right=1, bottom=1)
    x = whole.left + (one.box[0] + one.box[2]) / 2 / source.record.width * (whole.right - whole.left)
    y = whole.top + (one.box[1] + one.box[3]) / 2 / source.record.height * (whole.bottom - whole.top)
    return any(box.holds(x, y) for box in framing.hidden)


def _alone(source: Source) -> bool:
    return len(people_in(source.embedded)) == 1


def _by_person(source: Source, distance: float | None) -> SourceFraming:
    return _shown(source, distance, source.file.framing or Framing(), by_person=True)


def _shown(source: Source, distance: float | None, framing: Framing, *, by_person: bool) -> SourceFraming:
    """For a person: the faces of the picture before ingest cut it; the character's, if it was found, has the distance."""
    size = (source.record.width, source.record.height)
    faces = []
    for one in people_in(source.embedded):
        chosen = one.box == source.embedded.box and distance is not None
        if one.box is not None:
            box = _share(one.box, size, framing.crop if by_person else None)
            faces.append(FaceSeen(box=box, distance=distance if chosen else None, chosen=chosen))
    return SourceFraming(
        file=source.file.name,
        given=source.file.digest,
        picture=source.record.digest,
        faces=tuple(faces),
        framing=framing,
        by="person" if by_person else "ingest",
    )


def _share(box: tuple[float, float, float, float], size: tuple[int, int], crop: Box | None) -> Box:
    """A face of the stored picture as shares of the whole picture."""
    whole = crop or Box(left=0, top=0, right=1, bottom=1)
    wide, high = whole.right - whole.left, whole.bottom - whole.top
    left, top = max(0.0, box[0] / size[0]), max(0.0, box[1] / size[1])
    right, bottom = min(1.0, box[2] / size[0]), min(1.0, box[3] / size[1])
    return Box(
        left=round(whole.left + left * wide, 4),
        top=round(whole.top + top * high, 4),
        right=round(whole.left + right * wide, 4),
        bottom=round(whole.top + bottom * high, 4),
    )
