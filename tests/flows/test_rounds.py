"""Rounds of a gate: what a redo keeps and asks for, and what an edit that is asked for again starts from."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from flenwheel_core.base.errors import InterruptedStageError, ResourceError
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.critic.ladder import train_critic
from flenwheel_core.documents.critics import CriticView, Looker, Looks
from flenwheel_core.documents.decisions import ClosedGate, Decision, FinalDecision, GateVerdict, Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.gates.kinds import ENRICHED, KINDS, KindOfGate
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.gates.summary import FinishSummary, summarise
from flenwheel_core.library.characters import Character, CharacterFacts, Library, PoolEntry
from flenwheel_core.library.critics import CriticLearned, CriticLibrary, CriticPromotion
from flenwheel_core.plans.pictures import ENOUGH_PER_CELL
from flenwheel_core.recipes.critic import CriticRecipe
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.reports.turn_report import TurnFacts
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.requests.critic_look import CriticLookRequest, CriticLookResult
from flenwheel_core.requests.critic_score import CriticScoreRequest
from flenwheel_core.requests.critic_train import CriticTrainRequest
from flenwheel_core.requests.enrich import EnrichRequest, EnrichResult
from flenwheel_core.requests.screen import ScreenRequest, ScreenResult
from flenwheel_core.runner.stage import Stage, StageContext
from flenwheel_core.stages.critic_score import critic_score
from flenwheel_core.stages.critic_train import critic_train
from flenwheel_core.store import Store
from flows.critic_steps import NOT_LOOKED
from flows.rounds import EnrichedRounds, _again
from flows.turn import Turn
from flows.turn_runner import Request, Result
from tests.kit.critic_world import lessons

SOURCE, REFERENCE = "a" * 64, "b" * 64
EVERYTHING = range(len(CARD_CELLS))


@pytest.mark.parametrize(
    ("kind", "parents", "references"),
    [
        (ImageKind.ENRICHED, (SOURCE,), ()),
        (ImageKind.ENRICHED, (SOURCE, REFERENCE), (REFERENCE,)),
        (ImageKind.SYNTHETIC, (), ()),
    ],
)
def test_a_better_prompt_gets_the_same_pictures(
    kind: ImageKind, parents: tuple[str, ...], references: tuple[str, ...]
) -> None:
    record = ImageRecord(
        digest="c" * 64, width=8, height=8, kind=kind, parents=parents, stage="enrich", request="1" * 64, item="edit-1"
    )
    decision = FinalDecision(
        image=record.digest, verdict=Verdict.NEEDS_CORRECTION, better_prompt="smiling", author="me"
    )
    item = _again(decision, record, 1)
    assert (item.source, item.references, item.prompt) == ((parents or (record.digest,))[0], references, "smiling")


class Answers:
    """A runner without a server: each round makes a picture of each of some cells, and the reviewer rejects those at some places."""

    def __init__(
        self,
        store: Store,
        cells: Sequence[Sequence[int]],
        verdicts: Sequence[GateVerdict],
        rejected: Sequence[int] = (),
        *,
        stopped: bool = False,
        blind: bool = False,
    ) -> None:
        self.store, self.cells, self.verdicts = store, list(cells), list(verdicts)
        self.rejected, self.stopped, self.blind = rejected, stopped, blind
        self.asked: list[str] = []
        """The critic's stages that were asked for."""
        self.summaries: list[FinishSummary] = []
        """What the finish of each round promised."""
        self.storages: list[str | None] = []
        """How each request for edits wants the editor's weights stored."""
        self.known: list[int] = []
        """How many pictures each screening compared its candidates with."""

    def stage(self, stage: Stage[Request, Result], request: Request, label: str) -> Result:
        return cast("Result", self._made(request))

    def _made(self, request: StageRequest) -> StageResult:
        if isinstance(request, EnrichRequest):
            self.storages.append(request.storage)
            records = [_edit(request, cell) for cell in self.cells.pop(0)]
            return EnrichResult(images=self.store.put_images(records), count=len(records))
        if isinstance(request, CriticScoreRequest | CriticTrainRequest):
            self.asked.append(request.stage)
            context = _context(self.store)
            if self.stopped:
                context.stop.set()
                context.check_stop()
            return (
                critic_score(request, context)
                if isinstance(request, CriticScoreRequest)
                else critic_train(request, context)
            )
        if isinstance(request, CriticLookRequest):
            self.asked.append(request.stage)
            if self.blind:
                raise ResourceError("The model needs 16 GB of video memory.")
            return CriticLookResult(looks=self.store.put_blob(Looks(pictures=()).to_bytes()), pictures=0)
        assert isinstance(request, ScreenRequest) and request.pool is not None
        self.known.append(len(self.store.get_images(request.pool)))
        return ScreenResult(screenings=self.store.put_screenings([]), passed=0, unsure=0, failed=0)

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        session = reviews.open(session)
        if reviews.closed(session.gate) is not None:
            return reviews.close(session.gate, "approve", "leave_out", override_minimum=True, reviewer="ana")
        for place, record in enumerate(reviews.images(session)):
            line = Decision(
                id=record.item,
                at=datetime(2026, 1, 2, tzinfo=UTC),
                author="ana",
                image=record.digest,
                verdict=Verdict.REJECT if place in self.rejected else Verdict.GOOD,
            )
            reviews.decide(session.gate, line)
        pool = Library(self.store).pool(session.character)
        self.summaries.append(summarise(Reviews(self.store).gate(session.gate), pool, "leave_out"))
        return reviews.close(session.gate, self.verdicts.pop(0), "leave_out", override_minimum=True, reviewer="ana")

    def turn_report(self, facts: TurnFacts) -> str:
        return ""


def _context(store: Store) -> StageContext:
    return StageContext(store, Settings(), Path(), Progress("critic", lambda _: None))


def _edit(request: EnrichRequest, cell: int) -> ImageRecord:
    return ImageRecord(
        digest=digest_bytes(f"{request.items[0].seed}, {cell}".encode()),
        width=8,
        height=8,
        kind=ImageKind.ENRICHED,
        parents=((SOURCE, REFERENCE)[cell % 2],),
        stage="enrich",
        request="1" * 64,
        item=f"edit-{cell:04d}",
        labels=CARD_CELLS[cell].labels(),
    )


@pytest.fixture
def turn(tmp_path: Path) -> Turn:
    """A turn whose pool holds one real source, of the first cell."""
    store = Store((tmp_path / "store").as_uri())
    mira = Character(name="mira", trigger="ohwx_char", class_word="person", kind="person", recipe="nano")
    library = Library(store)
    library.create_character(mira)
    source = ImageRecord(
        digest=SOURCE, width=8, height=8, kind=ImageKind.SOURCE, stage="ingest", request="1" * 64, item="source",
        labels=CARD_CELLS[0].labels(),
    )  # fmt: skip
    fingerprint = Fingerprint(
        verifier="tiny", verifier_version="1", images=(SOURCE,), embeddings=((1.0,),), centroid=(1.0,),
        distance="cosine", leave_one_out=(0.0,), threshold=0.5, unsure_above=0.6,
    )  # fmt: skip
    library.freeze_facts("mira", CharacterFacts(sources=store.put_images([source]), fingerprint=fingerprint))
    library.add_to_pool("mira", [PoolEntry(image=source, caption="a source", real=True, turn=1, gate=None)])
    recipe = load_recipe("nano").model_copy(update={"critic": CriticRecipe(embeddings=False)})
    return Turn(store, mira, recipe, number=1, flow_run="run-1", name="mira-t1", folder="turns/mira/0001")


def test_a_redo_with_nothing_left_to_make_goes_on_with_what_was_good(turn: Turn) -> None:
    answers = Answers(turn.store, [EVERYTHING] * ENOUGH_PER_CELL, ["redo"] * ENOUGH_PER_CELL)
    rounds = EnrichedRounds(turn, answers)
    assert rounds.run(), "no cell is missing after the last redo: there is nothing to ask a person about"
    assert [closed.verdict for closed in rounds.closed] == ["redo"] * ENOUGH_PER_CELL
    assert len(turn.pool()) == 1 + ENOUGH_PER_CELL * len(CARD_CELLS), "the good ones of every round"


def test_the_editor_draws_with_the_storage_that_the_recipe_names(turn: Turn) -> None:
    editor = turn.recipe.editor.model_copy(update={"storage": "nf4"})
    turn = dataclasses.replace(turn, recipe=turn.recipe.model_copy(update={"editor": editor}))
    answers = Answers(turn.store, [EVERYTHING], ["approve"])
    EnrichedRounds(turn, answers).run()
    assert answers.storages == ["nf4"]


def test_a_gate_that_feeds_no_pool_brings_nothing_in_and_promises_nothing(
    turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind of gate as somebody may add one: its pictures are no lessons either."""
    idle = dataclasses.replace(ENRICHED, feeds_pool=False, lessons=None)
    monkeypatch.setitem(cast("dict[str, KindOfGate]", KINDS), "enriched", idle)
    monkeypatch.setattr(EnrichedRounds, "kind", idle)
    answers = Answers(turn.store, [[3, 4]], ["approve"])
    assert EnrichedRounds(turn, answers).run()
    assert len(turn.pool()) == 1
    (promised,) = answers.summaries
    assert promised.training_pictures == 1 and not any("triplets" in text for text in promised.warnings)


def test_the_finish_promises_what_the_approval_brings_in(turn: Turn) -> None:
    answers = Answers(turn.store, [[3, 4]] * 3, ["redo", "redo", "approve"])
    assert EnrichedRounds(turn, answers).run()
    assert [promised.training_pictures for promised in answers.summaries] == [3, 5, 7]
    promised = answers.summaries[-1]
    assert len(turn.pool()) == 7 and promised.usable == 2, "what counts towards the minimum is this round's"
    assert {row.cell: row.new for row in promised.coverage if row.new} == {CARD_CELLS[3].id: 3, CARD_CELLS[4].id: 3}
    gate = Reviews(turn.store).gate("mira-t1-gate-a-r3")
    after = summarise(gate, turn.pool(), "leave_out")
    assert (after.training_pictures, after.pool_made) == (7, 6), "once they are in the pool they are not counted again"


def test_a_later_round_is_screened_for_copies_of_what_earlier_ones_kept(turn: Turn) -> None:
    answers = Answers(turn.store, [[3, 4]] * 3, ["redo", "redo", "approve"])
    EnrichedRounds(turn, answers).run()
    assert answers.known == [1, 3, 5]


def test_cells_that_an_earlier_round_filled_are_not_called_empty(turn: Turn) -> None:
    answers = Answers(turn.store, [EVERYTHING, [1]], ["redo", "approve"])
    assert EnrichedRounds(turn, answers).run()
    assert answers.summaries[1].covered_cells == len(CARD_CELLS)
    assert not any("stay empty" in text for text in answers.summaries[1].warnings)


@pytest.mark.parametrize("verdicts", [["redo", "stop"], ["redo"] * 5])
def test_a_turn_that_a_person_ends_at_a_gate_leaves_the_pool_as_it_was(turn: Turn, verdicts: list[GateVerdict]) -> None:
    assert turn.recipe.gates.rounds == 5
    assert not EnrichedRounds(turn, Answers(turn.store, [[3]] * 5, verdicts)).run()
    assert len(turn.pool()) == 1


def views(turn: Turn, rounds: int) -> list[CriticView | None]:
    return [Reviews(turn.store).gate(f"mira-t1-gate-a-r{number}").critic_view for number in range(1, rounds + 1)]


def test_a_gate_is_put_in_order_by_what_the_critic_learned_at_the_ones_before(turn: Turn) -> None:
    answers = Answers(turn.store, [EVERYTHING] * 2, ["redo", "approve"], rejected=range(5))
    assert EnrichedRounds(turn, answers).run()
    first, second = views(turn, 2)
    assert first is not None and second is not None
    assert (first.critic, first.verdicts) == (None, 0)
    assert second.verdicts == len(CARD_CELLS) and not second.rejects
    newest = CriticLibrary(turn.store).newest(None)
    assert newest is not None and newest.verdicts == 2 * len(CARD_CELLS) and newest.critic != second.critic


def test_no_process_is_started_for_a_critic_that_knows_nothing(turn: Turn) -> None:
    """The first gate has no critic, and verdicts that are all alike, or too few, teach none: the sources take turns all the same."""
    answers = Answers(turn.store, [EVERYTHING, [3, 4]], ["redo", "approve"])
    assert EnrichedRounds(turn, answers).run()
    assert answers.asked == [] and CriticLibrary(turn.store).learned_lines() == []
    for view in views(turn, 2):
        assert view is not None and view.critic is None and "not learned" in view.said


def test_a_critic_that_learned_is_asked_in_a_process_and_a_replay_asks_none(turn: Turn) -> None:
    promoted = train_critic(lessons(60), {}, record="0" * 64).critic
    said = {"rung": promoted.rung, "verdicts": promoted.count, "flow_run": "run-0", "gate": "gate-d", "reviewer": "ana"}
    CriticLibrary(turn.store).promote(
        CriticPromotion(at=datetime(2026, 1, 1, tzinfo=UTC), critic=turn.store.put_blob(promoted.to_bytes()), **said)  # type: ignore[arg-type]
    )
    for asked in (["critic_score"], []):
        answers = Answers(turn.store, [[3, 4]], ["approve"])
        assert EnrichedRounds(turn, answers).run() and answers.asked == asked


def test_a_critic_that_fails_ends_no_turn(turn: Turn, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What it learned is gone from the store, and the verifier that it is to learn with is not there: the gates open as made."""
    lost = {"critic": "e" * 64, "rung": "screening", "verdicts": 40, "gate": "rex-t1-gate-a-r1", "verifier": None}
    CriticLibrary(turn.store).learned(CriticLearned(at=datetime(2026, 1, 1, tzinfo=UTC), **lost))  # type: ignore[arg-type]
    models = turn.recipe.models.model_copy(update={"verifier": str(tmp_path / "nowhere")})
    recipe = turn.recipe.model_copy(update={"critic": CriticRecipe(), "models": models})
    answers = Answers(turn.store, [EVERYTHING] * 2, ["redo", "approve"], rejected=range(5))
    assert EnrichedRounds(dataclasses.replace(turn, recipe=recipe), answers).run()
    assert views(turn, 2) == [None, None] and answers.asked == ["critic_train"] * 2
    assert "could not put the pictures of mira-t1-gate-a-r1 in order" in caplog.text
    assert "could not learn from mira-t1-gate-a-r2" in caplog.text and "nowhere" in caplog.text


@pytest.mark.parametrize(
    ("rejects", "blind", "asked"),
    [
        (True, False, ["critic_look", "critic_score"]),
        (True, True, ["critic_look", "critic_score"]),
        (False, True, ["critic_score"]),
    ],
)
def test_a_look_that_fails_takes_no_order_away_and_none_is_made_where_nothing_is_set_aside(
    turn: Turn, caplog: pytest.LogCaptureFixture, rejects: bool, blind: bool, asked: list[str]
) -> None:
    learned = train_critic(lessons(160), {}, record="0" * 64).critic
    looks = learned.model_copy(update={"looker": Looker(model="nano", loras=("f" * 64,))})
    same = {"at": datetime(2026, 1, 1, tzinfo=UTC), "rung": learned.rung, "verdicts": 160, "gate": "rex-t1-gate-a-r1"}
    newest, guard = (turn.store.put_blob(one.to_bytes()) for one in (learned, looks))
    CriticLibrary(turn.store).learned(CriticLearned(critic=newest, verifier=None, **same))  # type: ignore[arg-type]
    CriticLibrary(turn.store).promote(CriticPromotion(critic=guard, flow_run="run-0", reviewer="ana", **same))  # type: ignore[arg-type]
    wanted = CriticRecipe(embeddings=False, reject=rejects, most_lost=0.1)
    recipe = turn.recipe.model_copy(update={"critic": wanted})
    answers = Answers(turn.store, [[3, 4]], ["approve"], blind=blind)
    assert EnrichedRounds(dataclasses.replace(turn, recipe=recipe), answers).run()
    (view,) = views(turn, 1)
    assert answers.asked == asked and view is not None and view.critic == newest
    looked = rejects and not blind
    assert (view.rejects, view.guard) == (looked, guard if looked else newest)
    assert (NOT_LOOKED in view.said) == (rejects and blind)
    assert ("16 GB of video memory" in caplog.text) == (rejects and blind)


def test_a_stop_while_the_critic_learns_stops_the_turn(turn: Turn) -> None:
    answers = Answers(turn.store, [EVERYTHING], ["approve"], rejected=range(5), stopped=True)
    with pytest.raises(InterruptedStageError):
        EnrichedRounds(turn, answers).run()


def test_a_recipe_without_a_critic_asks_none(turn: Turn) -> None:
    without = dataclasses.replace(turn, recipe=turn.recipe.model_copy(update={"critic": CriticRecipe(learns=False)}))
    assert EnrichedRounds(without, Answers(turn.store, [[3, 4]], ["approve"])).run()
    assert Reviews(turn.store).gate("mira-t1-gate-a-r1").critic_view is None
    assert CriticLibrary(turn.store).newest(None) is None
