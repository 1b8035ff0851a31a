"""What closed gates teach the captioner."""

from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.lessons.captions import collect_captions, held_out
from flenwheel_core.store import Store
from tests.kit.gate_fixtures import Line


def test_written_captions_are_lessons_and_as_many_that_stood(
    store: Store, reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    records = reviews.images(session)
    for number, record in enumerate(records[:8]):
        said = {"caption": f"photo of ohwx_mira person, number {number}"} if number < 3 else {}
        reviews.decide(session.gate, line(record.digest, "good", **said))
    reviews.decide(session.gate, line(records[8].digest, "reject", caption="photo of nobody"))
    assert collect_captions(store).lessons == (), "the gate is open: nothing is settled"
    reviews.close(session.gate, "approve", "take_passed", override_minimum=True, reviewer="ana")
    found = collect_captions(store, "mira")
    written = [lesson for lesson in found.lessons if lesson.corrected]
    assert [lesson.caption[-1] for lesson in written] == ["0", "1", "2"] and found.corrected == 3
    standing = [lesson for lesson in found.lessons if not lesson.corrected]
    shown = {record.digest: record.caption for record in records[3:8]}
    assert len(standing) == 3 and all(lesson.caption == shown[lesson.image] for lesson in standing)
    assert {lesson.trigger for lesson in found.lessons} == {"ohwx_mira"}
    assert collect_captions(store, "rex").lessons == () and collect_captions(store) == found


def test_what_is_held_out_stays_held_out_when_lessons_are_added(
    store: Store, reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    for number, record in enumerate(reviews.images(session)):
        reviews.decide(session.gate, line(record.digest, "good", caption=f"ohwx_mira, number {number}"))
    reviews.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    lessons = collect_captions(store).lessons
    learned, held = held_out(lessons, 0.25)
    assert len(learned) + len(held) == len(lessons) and learned and held
    fewer_learned, fewer_held = held_out(lessons[::2], 0.25)
    assert set(map(id, fewer_held)) <= set(map(id, held)) and set(map(id, fewer_learned)) <= set(map(id, learned))
