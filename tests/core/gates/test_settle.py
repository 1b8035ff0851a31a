"""What verdicts make usable, and which are refused because a part of them would count for nothing."""

import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.images import ImageKind
from flenwheel_core.gates.kinds import KINDS, KindOfGate
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.gates.settle import final, lessons, usable, usable_pictures
from tests.kit.gate_fixtures import Line

CORRECTION = "c" * 64


def decided(image: str, verdict: str, **more: object) -> FinalDecision:
    return FinalDecision.model_validate({"image": image, "verdict": verdict, "author": "ana", **more})


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
@pytest.mark.parametrize("verdict", ["good", "reject", None])
def test_work_that_would_be_ignored_is_refused_whoever_gives_it(
    reviews: Reviews, session: ReviewSession, line: Line, kind: KindOfGate, verdict: str | None
) -> None:
    gate = reviews.open(session.model_copy(update={"gate": f"mira-{kind.name}", "kind": kind.name})).gate
    image = reviews.images(session)[0].digest
    for more in ({"correction": CORRECTION}, {"better_prompt": "look up"}):
        with pytest.raises(InputError, match="needs_correction only"):
            reviews.decide(gate, line(image, verdict, **more))
    assert reviews.current(gate) == {}


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_a_better_prompt_is_taken_only_where_pictures_are_made_again(
    reviews: Reviews, session: ReviewSession, line: Line, kind: KindOfGate
) -> None:
    gate = reviews.open(session.model_copy(update={"gate": f"mira-{kind.name}", "kind": kind.name})).gate
    image = reviews.images(session)[0].digest
    asked = line(image, "needs_correction", better_prompt="look up")
    if kind.made_again is None:
        with pytest.raises(InputError, match="no better prompts"):
            reviews.decide(gate, asked)
    else:
        reviews.decide(gate, asked)
        assert reviews.current(gate)[image].better_prompt == "look up"


def test_a_withdrawn_verdict_comes_to_nothing(line: Line) -> None:
    assert final(line("a" * 64, None)) is None
    kept = final(line("a" * 64, "needs_correction", correction=CORRECTION))
    assert kept is not None and kept.usable == CORRECTION


def test_what_a_policy_let_through_is_usable_but_teaches_the_editor_nothing() -> None:
    looked, unseen, corrected, refused = "a" * 64, "b" * 64, "d" * 64, "e" * 64
    every = (
        decided(looked, "good"),
        decided(unseen, "good", by_policy=True),
        decided(corrected, "needs_correction", correction=CORRECTION),
        decided(refused, "reject"),
    )
    assert [line.usable for line in usable(every)] == [looked, unseen, CORRECTION]
    taught = {name: [line.image for line in lessons(every, kind)] for name, kind in KINDS.items()}
    # At gate C the policy lets through lessons that a person gave at another gate.
    assert taught == {
        "enriched": [looked, corrected],
        "synthetic": [],
        "triplets": [looked, unseen, corrected],
        "verdicts": [],
        "captions": [],
    }


def test_corrected_pictures_stand_in_for_the_edits_they_correct(reviews: Reviews, session: ReviewSession) -> None:
    first, second, third = (record.digest for record in reviews.images(session)[:3])
    records = {record.digest: record for record in reviews.images(session)}
    kept = records[second].model_copy(update={"digest": "f" * 64, "kind": ImageKind.CORRECTED, "item": "kept"})
    every = (
        decided(first, "needs_correction", correction=CORRECTION),
        decided(second, "needs_correction", correction="f" * 64, caption="mine"),
        decided(third, "reject"),
    )
    (one, bare), (two, known) = usable_pictures(every, records, {kept.digest: kept}, "mira-t1-gate-a-r1")
    assert (one.verdict, bare.digest, bare.kind) == (Verdict.NEEDS_CORRECTION, CORRECTION, ImageKind.CORRECTED)
    assert bare.parents[-1] == first and bare.item.startswith("mira-t1-gate-a-r1-")
    assert known == kept and two.caption == "mine"
