"""A turn of the critic: it learns, waits at gate D with its comparison, and is promoted only if a person says so."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.critics import CriticLesson, CriticLessons
from flenwheel_core.documents.decisions import ClosedGate, GateVerdict
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.recipes.critic import CriticRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.critic_train import CriticTrainRequest
from flenwheel_core.runner.stage import Stage, StageContext
from flenwheel_core.stages.critic_train import critic_train
from flenwheel_core.store import Store
from flows.critic import run_critic_turn
from flows.critic_turn import CriticTurn
from flows.turn_runner import Request, Result
from tests.kit.critic_world import lessons
from tests.kit.gate_world import NOW


class Answers:
    """A runner without a server. At the gate somebody may decide about pictures, then answers."""

    def __init__(
        self, store: Store, verdict: GateVerdict, decide: Callable[[Reviews, ReviewSession], None] = lambda *_: None
    ) -> None:
        self.store, self.verdict, self.decide = store, verdict, decide
        self.trained: list[int] = []
        self.session: ReviewSession | None = None

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        assert isinstance(request, CriticTrainRequest)
        context = StageContext(self.store, Settings(), Path(), Progress("critic", lambda _: None))
        result = critic_train(request, context)
        self.trained.append(result.lessons)
        return cast("Result", result)

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        self.session = reviews.open(session)
        self.decide(reviews, self.session)
        return reviews.close(session.gate, self.verdict, "leave_out", override_minimum=False, reviewer="ana")


def turn_with(store: Store, some: list[CriticLesson], run: str = "run-1", number: int = 1) -> CriticTurn:
    """A turn whose lessons are frozen already, each in a gate that shows its picture."""
    for gate in dict.fromkeys(one.gate for one in some):
        records = [
            ImageRecord(
                digest=one.image, width=8, height=8, kind=ImageKind.ENRICHED, stage="enrich", request="1" * 64, item="edit",
                parents=(one.source or "a" * 64,),
            )
            for one in some
            if one.gate == gate
        ]  # fmt: skip
        Reviews(store).open(
            ReviewSession(
                gate=gate,
                kind="enriched",
                character="mira",
                turn=1,
                round=1,
                images=store.put_images(records),
                minimum=0,
            )
        )
    recipe = load_recipe("nano").model_copy(update={"critic": CriticRecipe(embeddings=False, most_lost=0.1)})
    turn = CriticTurn(store, recipe, None, run, number)
    turn.frozen("lessons", CriticLessons, lambda: CriticLessons(lessons=tuple(some)))
    return turn


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


def test_a_critic_is_promoted_once_a_person_has_seen_how_it_does(store: Store) -> None:
    turn = turn_with(store, lessons(160))
    answers = Answers(store, "approve")
    assert run_critic_turn(turn, answers).startswith("promoted: 160 verdicts of 4 turns")
    assert answers.session is not None and answers.session.of_kind.letter == "D"
    assert "the new critic is better than the share of verdicts" in answers.session.note
    assert "It would lose at most" in answers.session.note and "95% sure" in answers.session.note
    champion = turn.library.champion()
    assert champion is not None and (champion.reviewer, champion.verdicts) == ("ana", 160)
    assert run_critic_turn(turn, answers) and len(turn.library.promotions()) == 1, "a replay promotes nobody twice"


def test_what_a_person_leaves_out_is_not_learned(store: Store) -> None:
    def leave_out(reviews: Reviews, session: ReviewSession) -> None:
        from flenwheel_core.documents.decisions import Decision, Verdict

        for number, record in enumerate(reviews.images(session)[:3]):
            line = Decision(id=f"line-{number:05d}", at=NOW, author="ana", image=record.digest, verdict=Verdict.REJECT)
            reviews.decide(session.gate, line)

    turn = turn_with(store, lessons(160))
    answers = Answers(store, "approve", leave_out)
    run_critic_turn(turn, answers)
    champion = turn.library.champion()
    assert answers.trained == [160, 157] and champion is not None and champion.verdicts == 157


def test_a_stopped_turn_promotes_nobody(store: Store) -> None:
    turn = turn_with(store, lessons(160))
    assert run_critic_turn(turn, Answers(store, "stop")) == "stopped at gate D"
    assert turn.library.champion() is None and turn.library.ended_turns()[0].outcome == "stopped"


def test_few_verdicts_ask_nobody(store: Store) -> None:
    turn = turn_with(store, lessons(20))
    answers = Answers(store, "approve")
    assert run_critic_turn(turn, answers) == "too few verdicts: 20; 40 are asked for"
    assert answers.session is None


def test_the_next_critic_is_compared_with_the_promoted_one_on_turns_that_neither_learned(store: Store) -> None:
    old, new = lessons(160), [one.model_copy(update={"turn": one.turn + 10}) for one in lessons(160, seed=1)]
    run_critic_turn(turn_with(store, old), Answers(store, "approve"))
    answers = Answers(store, "approve")
    run_critic_turn(turn_with(store, [*old, *new], "run-2", 2), answers)
    assert answers.session is not None
    assert "On 160 verdicts" in answers.session.note and "than the promoted critic" in answers.session.note
