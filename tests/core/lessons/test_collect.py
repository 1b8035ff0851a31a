"""Lessons come from people's decisions: approved and corrected edits of closed gates, and nothing else."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from flenwheel_core.documents.decisions import Decision, Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.documents.scores import Screening
from flenwheel_core.documents.triplets import Triplet
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.lessons.collect import collect_triplets, compared, lesson_of
from flenwheel_core.lessons.gather import approved_lessons, characters_of, gather_lessons
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture
from flenwheel_core.store.triplets import get_triplets, imported_triplets

GATE = "ann-t1-gate-a-r1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


def drawn(store: Store, colour: str, **facts: object) -> ImageRecord:
    image = Image.linear_gradient("L").resize((96, 96)).convert("RGB")
    ImageDraw.Draw(image).rectangle((20, 20, 60, 60), fill=colour)
    base = {"digest": "0" * 64, "width": 1, "height": 1, "stage": "enrich", "request": "1" * 64, "item": colour}
    return save_picture(store, image, ImageRecord.model_validate({**base, "kind": ImageKind.ENRICHED, **facts}))


def opened(store: Store, gate: str = GATE, kind: str = "enriched", further: tuple[str, ...] = ()) -> list[ImageRecord]:
    source = drawn(store, "black", kind=ImageKind.SOURCE)
    edits = [
        drawn(
            store,
            colour,
            parents=(source.digest, *further),
            prompt=f"make it {colour}",
            labels=Labels(background=colour),
        )
        for colour in ("red", "green", "blue", "white")
    ]
    rows = [Screening(image=edit.digest, outcome="pass", verifier="v", verifier_version="1") for edit in edits]
    session = ReviewSession.model_validate(
        {
            "gate": gate,
            "kind": kind,
            "character": "ann",
            "turn": 1,
            "round": 1,
            "images": store.put_images(edits),
            "screenings": store.put_screenings(rows),
            "minimum": 1,
        }
    )
    Reviews(store).open(session)
    return edits


def decide(store: Store, image: str, verdict: Verdict, correction: str | None = None, gate: str = GATE) -> None:
    line = Decision(
        id=f"{image}-{verdict}",
        at=datetime.now(UTC),
        author="me",
        image=image,
        verdict=verdict,
        correction=correction,
    )
    # Straight into the journal: earlier versions took lines that are refused now.
    Reviews(store).journal(gate).append(line)


def close(store: Store, undecided: str = "leave_out") -> None:
    Reviews(store).close(GATE, "approve", undecided, override_minimum=True, reviewer="me")  # type: ignore[arg-type]


def test_approved_and_corrected_edits_become_triplets(store: Store) -> None:
    red, green, blue, _white = opened(store)
    fixed = drawn(store, "darkgreen", kind=ImageKind.CORRECTED)
    decide(store, red.digest, Verdict.GOOD)
    decide(store, green.digest, Verdict.NEEDS_CORRECTION, fixed.digest)
    decide(store, blue.digest, Verdict.REJECT, fixed.digest)
    assert collect_triplets(store).triplets == (), "an open gate teaches nothing yet"
    close(store, "take_passed")
    approved, corrected = collect_triplets(store).triplets
    assert (approved.target, approved.kind, approved.prompt) == (red.digest, "approved", "make it red")
    assert (corrected.target, corrected.rejected, corrected.kind) == (fixed.digest, green.digest, "corrected")
    assert approved.source == corrected.source == red.parents[0] and approved.labels == Labels(background="red")
    assert approved.author == "me"


def test_a_lesson_has_the_references_of_its_edit(store: Store) -> None:
    other = drawn(store, "grey", kind=ImageKind.SOURCE)
    red, green, *_ = opened(store, further=(other.digest,))
    fixed = drawn(store, "darkgreen", kind=ImageKind.CORRECTED)
    decide(store, red.digest, Verdict.GOOD)
    decide(store, green.digest, Verdict.NEEDS_CORRECTION, fixed.digest)
    close(store)
    approved, corrected = collect_triplets(store).triplets
    assert approved.references == corrected.references == (other.digest,)
    shown = {record.digest: record for record in store.get_images(gather_lessons(store, "ann").images)}
    assert shown[red.digest].parents == (red.parents[0], other.digest)
    assert shown[fixed.digest].parents == (red.parents[0], other.digest, green.digest)


def test_synthetic_gates_teach_the_editor_nothing(store: Store) -> None:
    red, *_ = opened(store, kind="synthetic")
    decide(store, red.digest, Verdict.GOOD)
    close(store)
    assert collect_triplets(store).triplets == ()


def test_lessons_are_checked_and_what_gate_c_lets_through_is_trained_on(store: Store) -> None:
    red, green, *_ = opened(store)
    decide(store, red.digest, Verdict.GOOD)
    decide(store, green.digest, Verdict.NEEDS_CORRECTION, green.parents[0])
    close(store)
    imported = Triplet(
        source=red.parents[0],
        prompt="wide",
        target=red.digest,
        kind="corrected",
        character="ben",
        turn=0,
        gate="import",
        author="me",
    )
    imported_triplets(store).append(imported)
    lessons = gather_lessons(store, None)
    assert (lessons.total, lessons.passed, lessons.left_out) == (3, 2, {"unchanged": 1})
    assert characters_of(get_triplets(store, lessons.usable).triplets) == ("ann", "ben")
    assert [record.digest for record in store.get_images(lessons.images)] == [red.digest], "one row a picture"
    session = (
        Reviews(store)
        .get(GATE)
        .model_copy(
            update={
                "gate": "editor-gate-c-r1",
                "kind": "triplets",
                "images": lessons.images,
                "screenings": lessons.screenings,
            }
        )
    )
    reviews = Reviews(store)
    reviews.open(session)
    closed = reviews.close(session.gate, "approve", "take_passed", override_minimum=False, reviewer="me")
    chosen = approved_lessons(store, lessons, reviews.decisions(closed))
    assert [triplet.prompt for triplet in chosen] == ["make it red", "wide"]
    assert gather_lessons(store, "ben").total == 1


def test_a_correction_given_at_gate_c_is_trained_on_and_stays(store: Store) -> None:
    red, green, blue, white = opened(store)
    first_fix, fixed, fixed_again = (
        drawn(store, colour, kind=ImageKind.CORRECTED) for colour in ("navy", "pink", "tan")
    )
    for edit in (red, blue, white):
        decide(store, edit.digest, Verdict.GOOD)
    decide(store, green.digest, Verdict.NEEDS_CORRECTION, first_fix.digest)
    close(store)
    before = {lesson_of(triplet) for triplet in collect_triplets(store).triplets}
    lessons = gather_lessons(store, None)
    gate_c = (
        Reviews(store)
        .get(GATE)
        .model_copy(update={"gate": "editor-gate-c", "kind": "triplets", "images": lessons.images, "screenings": None})
    )
    Reviews(store).open(gate_c)
    decide(store, red.digest, Verdict.NEEDS_CORRECTION, fixed.digest, gate_c.gate)
    decide(store, first_fix.digest, Verdict.NEEDS_CORRECTION, fixed_again.digest, gate_c.gate)
    decide(store, blue.digest, Verdict.REJECT, fixed.digest, gate_c.gate)
    decide(store, white.digest, Verdict.GOOD, None, gate_c.gate)
    closed = Reviews(store).close(gate_c.gate, "approve", "leave_out", override_minimum=False, reviewer="me")
    chosen = approved_lessons(store, lessons, Reviews(store).decisions(closed))
    assert {(lesson.target, lesson.kind, lesson.rejected) for lesson in chosen} == {
        (fixed.digest, "corrected", red.digest),
        (fixed_again.digest, "corrected", green.digest),
        (white.digest, "approved", None),
    }
    later = collect_triplets(store).triplets
    assert set(chosen) <= set(later) and len(later) == 4
    assert {lesson_of(triplet) for triplet in later} == before, "the same lessons, better targets"


def test_the_comparison_is_spread_over_all_held_out_lessons() -> None:
    held = [
        Triplet(
            source=f"{index:064x}",
            prompt="smiling",
            target=f"{index + 1000:064x}",
            kind="corrected",
            character=f"character-{index // 20}",
            turn=1,
            gate="g",
            author="me",
        )
        for index in range(100)
    ]
    chosen = compared(held, 24)
    assert len(chosen) == 24 and len({triplet.character for triplet in chosen}) == 5
    assert list(chosen) == [triplet for triplet in held if triplet in chosen] and compared(held[:7], 24) == tuple(
        held[:7]
    )
