"""The critics of a workspace: what was learned after each gate, which one was promoted, and the turns of the critic."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.critics import RungName
from flenwheel_core.library.turn_numbers import Look, TurnOpened, claim_number, opened_turns
from flenwheel_core.store import Store

TURNS = "critic/turns"


class CriticLearned(Document):
    """A critic that was made after a gate closed. It orders from then on; it rejects nothing."""

    at: AwareDatetime
    critic: Digest
    rung: RungName
    verdicts: int
    gate: str
    verifier: str | None = Field(description="whose embeddings it was offered; None: none")


class CriticPromotion(Document):
    """A critic that a person let through at gate D. It may reject, within its bound, where a recipe allows it."""

    at: AwareDatetime
    critic: Digest
    rung: RungName
    verdicts: int
    flow_run: str
    gate: str
    reviewer: str
    said: str = Field(default="", description="the held-out comparison, as it was shown")


CriticOutcome = Literal["promoted", "stopped", "too few"]


class CriticTurnEnded(Document):
    """How a turn of the critic ended."""

    at: AwareDatetime
    flow_run: str
    outcome: CriticOutcome
    verdicts: int


class CriticLibrary:
    """Reads and appends to the critic's journals."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def learned(self, line: CriticLearned) -> None:
        """Records a critic; the same one again changes nothing."""
        journal = self.store.journal("critic/learned", CriticLearned)
        if all((old.critic, old.gate) != (line.critic, line.gate) for old in journal.read()):
            journal.append(line)

    def newest(self, verifier: str | None) -> CriticLearned | None:
        """The critic that learned last, of those that read the embeddings of this verifier or none."""
        found = [line for line in self.learned_lines() if line.verifier in (None, verifier)]
        return found[-1] if found else None

    def learned_lines(self) -> list[CriticLearned]:
        """Every critic that was made after a gate, oldest first."""
        return list(self.store.journal("critic/learned", CriticLearned).read())

    def promote(self, promotion: CriticPromotion) -> None:
        """Makes a critic the one that may reject; a second record of the same flow run changes nothing."""
        journal = self.store.journal("critic/promotions", CriticPromotion)
        if all(line.flow_run != promotion.flow_run for line in journal.read()):
            journal.append(promotion)

    def promotions(self) -> list[CriticPromotion]:
        """Every promotion, oldest first."""
        return list(self.store.journal("critic/promotions", CriticPromotion).read())

    def champion(self) -> CriticPromotion | None:
        """The critic that may reject."""
        found = self.promotions()
        return found[-1] if found else None

    # turns

    def open_turn(self, flow_run: str, recipe: Digest, look: Look | None = None) -> TurnOpened:
        """The turn of this flow run: the one it opened before, or the next number; `look` may refuse a further one."""
        return claim_number(self.store, TURNS, flow_run, recipe, look)

    def turns(self) -> list[TurnOpened]:
        """All turns of the critic, in order."""
        return list(opened_turns(self.store, TURNS))

    def end_turn(self, flow_run: str, outcome: CriticOutcome, verdicts: int) -> None:
        """Records how a turn ended; a second record of the same flow run changes nothing."""
        journal = self.store.journal("critic/ended", CriticTurnEnded)
        if all(line.flow_run != flow_run for line in journal.read()):
            journal.append(CriticTurnEnded(at=datetime.now(UTC), flow_run=flow_run, outcome=outcome, verdicts=verdicts))

    def ended_turns(self) -> list[CriticTurnEnded]:
        """How the ended turns ended, oldest first."""
        return list(self.store.journal("critic/ended", CriticTurnEnded).read())
