"""What training would get from a gate."""

import pytest

from flenwheel_core.base.errors import GateError
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.gates.summary import check_answer, summarise
from flenwheel_core.library.characters import Library
from tests.kit.gate_fixtures import Line


def test_counts_coverage_and_real_share(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    opened = reviews.gate(session.gate)
    images = [record.digest for record in opened.images]
    reviews.decide(
        session.gate, *[line(image, "good") for image in images[:6]], line(images[6], "reject", reasons=("style",))
    )
    reviews.decide(
        session.gate, line(images[7], "needs_correction", better_prompt="look up", reasons=("style", "angle"))
    )
    reviews.decide(session.gate, line(images[8], "needs_correction", correction="c" * 64))
    summary = summarise(opened, Library(reviews.store).pool("mira"), "leave_out")
    assert (summary.good, summary.needs_correction, summary.reject, summary.undecided) == (6, 2, 1, 3)
    assert summary.enough and (summary.corrections, summary.better_prompts) == (1, 1)
    assert summary.triplets == 6 + 1
    # The corrected picture enters the pool in place of its edit.
    assert (summary.usable, summary.pool_real, summary.training_pictures) == (7, 4, 11)
    assert summary.real_share == 4 / 11
    assert summary.reasons == {"style": 2, "angle": 1}
    rows = {row.cell: row for row in summary.coverage}
    assert len(rows) == len(CARD_CELLS) and rows["front-neutral"].real == 1 and rows["front-neutral"].new == 1
    assert rows["t-pose"].real == rows["t-pose"].new == 0
    assert summary.covered_cells == sum(row.real + row.new > 0 for row in rows.values())


def test_corrected_pictures_count_towards_the_minimum(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    images = [record.digest for record in reviews.images(session)][: session.minimum]
    reviews.decide(session.gate, *[line(image, "good") for image in images[1:]])
    assert not summarise(reviews.gate(session.gate), (), "leave_out").enough
    reviews.decide(session.gate, line(images[0], "needs_correction", correction="c" * 64))
    assert summarise(reviews.gate(session.gate), (), "leave_out").enough
    assert reviews.close(session.gate, "approve", "leave_out", override_minimum=False, reviewer="ana").enough


def test_a_conflict_is_named_and_left_out(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    image = reviews.images(session)[0].digest
    reviews.decide(session.gate, line(image, "good", "ana"), line(image, "reject", "tom"))
    summary = summarise(reviews.gate(session.gate), (), "take_passed")
    assert summary.conflicts == 1 and any("in conflict" in text for text in summary.warnings)
    assert summary.good == summary.by_policy


def test_a_small_share_of_real_pictures_is_warned_about(reviews: Reviews, session: ReviewSession, line: Line) -> None:
    images = [record.digest for record in reviews.images(session)]
    reviews.decide(session.gate, *[line(image, "good") for image in images])
    summary = summarise(reviews.gate(session.gate), Library(reviews.store).pool("mira"), "leave_out")
    assert any("Real pictures are 25%" in text for text in summary.warnings)


def test_triplets_are_counted_as_lessons_not_as_training_pictures(
    reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    gate = reviews.open(session.model_copy(update={"gate": "mira-c-r1", "kind": "triplets"}))
    image = reviews.images(gate)[0].digest
    reviews.decide(gate.gate, line(image, "good"))
    summary = summarise(reviews.gate(gate.gate), Library(reviews.store).pool("mira"), "leave_out")
    assert (summary.triplets, summary.training_pictures) == (1, 4)
    assert any("least to train an editor on" in text for text in summary.warnings)


@pytest.mark.parametrize("verdict", ["reject", "good"])
def test_a_correction_beside_another_verdict_counts_for_nothing(
    reviews: Reviews, session: ReviewSession, line: Line, verdict: str
) -> None:
    image = reviews.images(session)[0].digest
    # Written as journals of earlier versions hold it: such a decision is refused now.
    reviews.journal(session.gate).append(line(image, verdict, correction="c" * 64, better_prompt="look up"))
    summary = summarise(reviews.gate(session.gate), (), "leave_out")
    good = int(verdict == "good")
    assert (summary.usable, summary.triplets, summary.corrections, summary.better_prompts) == (good, good, 0, 0)
    closed = reviews.close(session.gate, "approve", "leave_out", override_minimum=False, reviewer="ana")
    (final,) = reviews.decisions(closed).decisions
    assert (final.usable, final.corrected, final.again_with) == (image if good else None, False, None)


def test_corrected_lessons_count_and_synthetic_pictures_are_no_lessons(
    reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    images = [record.digest for record in reviews.images(session)]
    for kind, triplets in {"triplets": 10, "synthetic": 0}.items():
        gate = reviews.open(session.model_copy(update={"gate": f"mira-{kind}", "kind": kind}))
        reviews.decide(gate.gate, *[line(image, "good") for image in images[1:10]])
        reviews.decide(gate.gate, line(images[0], "needs_correction", correction="c" * 64))
        summary = summarise(reviews.gate(gate.gate), (), "leave_out")
        assert (summary.triplets, summary.usable) == (triplets, 10)
        assert not any("least to train an editor on" in text for text in summary.warnings)


def test_a_summary_promises_no_lessons_that_nobody_looked_at(
    reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    reviews.decide(session.gate, line(reviews.images(session)[0].digest, "good"))
    summary = summarise(reviews.gate(session.gate), (), "take_passed")
    assert summary.by_policy > 0 and summary.usable == 1 + summary.by_policy
    assert summary.triplets == 1


@pytest.mark.parametrize(("kind", "why"), [("enriched", "knows one pose"), ("triplets", "learns those by heart")])
def test_an_approval_with_too_few_is_refused_for_a_reason_that_fits_the_gate(
    reviews: Reviews, session: ReviewSession, line: Line, kind: str, why: str
) -> None:
    gate = reviews.open(session.model_copy(update={"gate": "mira-x", "kind": kind}))
    opened = reviews.gate(gate.gate)
    with pytest.raises(GateError, match=f"(?s)Only 0 pictures are good.*{why}.*Decide more"):
        check_answer(opened, "approve", "leave_out", override_minimum=False, remedy="Decide more.")
    check_answer(opened, "approve", "leave_out", override_minimum=True, remedy="")
    check_answer(opened, "stop", "leave_out", override_minimum=False, remedy="")
    reviews.decide(gate.gate, *[line(record.digest, "good") for record in opened.images[: gate.minimum]])
    check_answer(opened, "approve", "leave_out", override_minimum=False, remedy="")
