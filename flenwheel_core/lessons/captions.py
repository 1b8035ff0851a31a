"""What closed gates teach the captioner: the captions that people wrote, and some that they let stand."""

from collections.abc import Iterator, Sequence

from flenwheel_core.base.ids import Digest, derive_seed
from flenwheel_core.documents.caption_lessons import CaptionLesson, CaptionLessons
from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.gates.kinds import CAPTIONS
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.gates.settle import usable_pictures
from flenwheel_core.library.characters import Library
from flenwheel_core.store import Store


def collect_captions(store: Store, character: str | None = None) -> CaptionLessons:
    """The captions of usable pictures of a character, or of all: each one that a person wrote, and as many that a person let stand.

    What a person said of a lesson at gate D stands in later turns: another caption, or that it is left out. Captions that people let stand
    keep the captioner from forgetting what it does well; they are drawn by lot, always the same. What a policy decided without anybody
    looking is no lesson. A picture that several gates showed has its newest caption.
    """
    reviews, library = Reviews(store), Library(store)
    triggers = {name: library.character(name).trigger for name in library.characters() if character in (None, name)}
    sessions = [session for gate in reviews.gates() if (session := reviews.get(gate)).of_kind.feeds_pool]
    found: dict[Digest, CaptionLesson] = {}
    for session in sorted(sessions, key=lambda one: (one.turn, one.round, one.gate)):
        if session.character in triggers:
            found |= {lesson.image: lesson for lesson in _of_gate(reviews, triggers[session.character], session)}
    for gate in _approved_lessons(reviews):
        said = reviews.said(gate)
        found = {image: kept for image, lesson in found.items() if (kept := after_gate(lesson, said.get(image)))}
    written = [lesson for lesson in found.values() if lesson.corrected]
    standing = [lesson for lesson in found.values() if not lesson.corrected]
    standing = sorted(standing, key=lambda one: _lot("standing", one))[: len(written)]
    taken = {lesson.image for lesson in (*written, *standing)}
    return CaptionLessons(lessons=tuple(lesson for lesson in found.values() if lesson.image in taken))


def after_gate(lesson: CaptionLesson, said: Decision | None) -> CaptionLesson | None:
    """A lesson as a person left it at gate D, in the words that they wrote there; None if they left it out."""
    if said is None:
        return lesson
    if said.verdict not in (None, Verdict.GOOD):
        return None
    if said.caption is None or said.caption == lesson.caption:
        return lesson
    return lesson.model_copy(update={"caption": said.caption, "corrected": True})


def held_out(lessons: Sequence[CaptionLesson], share: float) -> tuple[list[CaptionLesson], list[CaptionLesson]]:
    """The lessons to learn and those held out of it: of written captions and of standing ones the same share, drawn by lot.

    A picture's place does not change when lessons are added or left out, as long as the share stays.
    """
    learned: list[CaptionLesson] = []
    held: list[CaptionLesson] = []
    for lesson in lessons:
        (held if _lot("held out", lesson) < share else learned).append(lesson)
    return learned, held


def _of_gate(reviews: Reviews, trigger: str, session: ReviewSession) -> Iterator[CaptionLesson]:
    closed = reviews.closed(session.gate)
    if closed is None:
        return
    records = {record.digest: record for record in reviews.store.get_images(session.images)}
    decisions = [line for line in reviews.decisions(closed).decisions if not line.by_policy]
    for decision, record in usable_pictures(decisions, records, reviews.corrections(session.gate), session.gate):
        caption = decision.caption or record.caption
        if caption:
            yield CaptionLesson(
                image=record.digest,
                caption=caption,
                corrected=decision.caption is not None and decision.caption != records[decision.image].caption,
                character=session.character,
                trigger=trigger,
                gate=session.gate,
            )


def _approved_lessons(reviews: Reviews) -> list[str]:
    """The captioner's own gates that a person approved, in the order of turns."""
    sessions = [session for gate in reviews.gates() if (session := reviews.get(gate)).of_kind is CAPTIONS]
    answered = [(session, reviews.closed(session.gate)) for session in sorted(sessions, key=lambda one: one.turn)]
    return [session.gate for session, closed in answered if closed is not None and closed.verdict == "approve"]


def _lot(what: str, lesson: CaptionLesson) -> float:
    """From 0 to 1, for each picture its own."""
    return derive_seed(0, "captions", what, lesson.image) / 2**63
