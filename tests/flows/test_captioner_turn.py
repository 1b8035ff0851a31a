"""A turn of the captioner: it learns what people wrote, waits at gate D, and is promoted if it is shown to be better."""

from collections.abc import Callable
from typing import cast

import pytest

from flenwheel_core.documents.decisions import ClosedGate, GateVerdict
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.evaluation.captioners import compare_captions, score_captions
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.caption_compare import CaptionCompareRequest, CaptionCompareResult
from flenwheel_core.requests.vl_train import VlTrainRequest, VlTrainResult
from flenwheel_core.runner.stage import Stage
from flenwheel_core.store import Store
from flows.captioner import run_captioner_turn
from flows.captioner_turn import CaptionerTurn
from flows.turn_runner import Request, Result
from tests.kit.gate_fixtures import Line, line, reviews, session, settings, store

__all__ = ["line", "reviews", "session", "settings", "store"]
Decide = Callable[[Reviews, ReviewSession], None]


class Answers:
    """A runner without a server: the new captioner says `learned`, the present one nothing of use."""

    def __init__(self, verdict: GateVerdict, decide: Decide = lambda *_: None, *, learns: bool = True) -> None:
        self.verdict, self.decide, self.learns = verdict, decide, learns
        self.trained: list[VlTrainRequest] = []
        self.compared: list[CaptionCompareRequest] = []
        self.session: ReviewSession | None = None

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        if isinstance(request, VlTrainRequest):
            self.trained.append(request)
            lora = LoraRecord(
                digest=f"{len(self.trained):064x}", name=request.name, target="captioner", base_model=request.model, rank=8,
                alpha=8.0, steps=request.recipe.steps, images=len(request.items), dataset="d" * 64, request=request.key(),
                trigger=None, class_word=None,
            )  # fmt: skip
            return cast("Result", VlTrainResult(lora=lora, losses=(), eyes="e" * 64))
        assert isinstance(request, CaptionCompareRequest)
        self.compared.append(request)
        old = score_captions(request.items, ["a person"] * len(request.items))
        new = score_captions(request.items, [item.caption if self.learns else "a person" for item in request.items])
        return cast(
            "Result",
            CaptionCompareResult(
                champion=old, challenger=new, comparison=compare_captions(old, new, request.significance)
            ),
        )

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        self.session = reviews.open(session)
        if reviews.closed(session.gate) is None:
            self.decide(reviews, self.session)
        return reviews.close(session.gate, self.verdict, "leave_out", override_minimum=False, reviewer="ana")


@pytest.fixture
def turn(store: Store, reviews: Reviews, session: ReviewSession, line: Line) -> CaptionerTurn:
    """A turn after a gate where somebody wrote every caption."""
    for number, record in enumerate(reviews.images(session)):
        reviews.decide(session.gate, line(record.digest, "good", caption=f"photo of ohwx_mira person, number {number}"))
    reviews.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
    recipe = load_recipe("nano")
    chosen = recipe.captioner.model_copy(update={"holdout_share": 0.5, "minimum_captions": 5})
    return CaptionerTurn(store, recipe.model_copy(update={"captioner": chosen}), None, "run-1", 1)


def test_a_captioner_that_came_nearer_is_promoted_once_a_person_let_it_through(turn: CaptionerTurn) -> None:
    answers = Answers("approve")
    assert run_captioner_turn(turn, answers).startswith("promoted: nearer to people's captions")
    assert answers.session is not None and answers.session.of_kind.letter == "D"
    assert "that it had not learned, the new captioner would be promoted" in answers.session.note
    assert len(answers.trained) == 1 and answers.trained[0].items[0].question == ""
    learned = {item.images[0] for item in answers.trained[0].items}
    assert learned.isdisjoint(item.image for item in answers.compared[0].items)
    (promotion,) = turn.library.champions()
    assert (promotion.reviewer, promotion.lora.digest) == ("ana", f"{1:064x}")
    worn = turn.library.loras("nano")
    assert [use.digest for use in worn] == [promotion.lora.digest] and turn.library.loras("another") == ()
    assert run_captioner_turn(turn, answers) and len(turn.library.champions()) == 1, "a replay promotes nobody twice"


def test_what_a_person_changes_at_the_gate_is_learned_and_compared_again(turn: CaptionerTurn, line: Line) -> None:
    def change(reviews: Reviews, session: ReviewSession) -> None:
        first, second = reviews.images(session)[:2]
        reviews.decide(
            session.gate, line(first.digest, "reject"), line(second.digest, "good", caption="ohwx_mira sits")
        )

    answers = Answers("approve", change)
    run_captioner_turn(turn, answers)
    assert len(answers.trained) == len(answers.compared) == 2
    said = [item.answer for item in answers.trained[1].items] + [item.caption for item in answers.compared[1].items]
    assert "ohwx_mira sits" in said and len(said) == len(turn.lessons().lessons) - 1
    assert turn.library.champions()[0].lora.digest == f"{2:064x}"


def test_one_that_is_not_shown_to_be_better_is_kept_back(turn: CaptionerTurn) -> None:
    answers = Answers("approve", learns=False)
    assert run_captioner_turn(turn, answers).startswith("kept back: not shown to be nearer")
    assert turn.library.champions() == [] and turn.library.ended_turns()[0].outcome == "kept"


def test_a_stopped_turn_promotes_nobody_and_its_captions_count_as_answered(turn: CaptionerTurn) -> None:
    assert run_captioner_turn(turn, Answers("stop")) == "stopped at gate D"
    assert turn.library.champions() == [] and turn.library.fresh(turn.lessons()) == 0


def test_what_a_person_said_at_the_gate_stands_in_the_next_turn(turn: CaptionerTurn, line: Line) -> None:
    def change(reviews: Reviews, session: ReviewSession) -> None:
        first, second, third = reviews.images(session)[:3]
        reviews.decide(
            session.gate, line(first.digest, "reject"), line(second.digest, "good", caption="ohwx_mira sits")
        )
        reviews.decide(session.gate, line(third.digest, None, caption="ohwx_mira stands"))

    before = turn.lessons()
    run_captioner_turn(turn, Answers("approve", change))
    after = CaptionerTurn(turn.store, turn.recipe, None, "run-2", 2).lessons()
    said = {lesson.image: lesson.caption for lesson in after.lessons}
    first, second, third = (lesson.image for lesson in before.lessons[:3])
    assert first not in said and (said[second], said[third]) == ("ohwx_mira sits", "ohwx_mira stands")
    assert len(said) == len(before.lessons) - 1 and turn.library.fresh(after) == 0


def test_a_gate_that_leaves_too_few_is_answered_all_the_same(turn: CaptionerTurn, line: Line) -> None:
    def refuse(reviews: Reviews, session: ReviewSession) -> None:
        reviews.decide(session.gate, *(line(record.digest, "reject") for record in reviews.images(session)))

    answers = Answers("approve", refuse)
    assert "people wrote 0" in run_captioner_turn(turn, answers) and len(answers.trained) == 1
    assert turn.library.fresh(turn.lessons()) == 0, "the next night does not ask again"


def test_few_captions_ask_nobody(turn: CaptionerTurn) -> None:
    recipe = turn.recipe.captioner.model_copy(update={"minimum_captions": 500})
    few = CaptionerTurn(turn.store, turn.recipe.model_copy(update={"captioner": recipe}), None, "run-1", 1)
    answers = Answers("approve")
    assert "captioner.minimum_captions asks for 500" in run_captioner_turn(few, answers)
    assert answers.session is None and turn.library.fresh(turn.lessons()) == turn.lessons().corrected > 0
