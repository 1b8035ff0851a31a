"""The captioner's own library: its turns, and the LoRAs that it was promoted with. One captioner serves all characters of a workspace."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.caption_lessons import CaptionLessons
from flenwheel_core.documents.images import LoraUse
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.library.turn_numbers import Look, TurnOpened, claim_number, opened_turns
from flenwheel_core.requests.caption_compare import CaptionScorecard
from flenwheel_core.store import Store

TURNS = "captioner/turns"


class CaptionerPromotion(Document):
    """A LoRA that a person let through at gate D, and that came nearer to people's captions on pictures it had not learned."""

    at: AwareDatetime
    lora: LoraRecord
    scorecard: CaptionScorecard
    lessons: int
    flow_run: str
    gate: str
    reviewer: str
    reasons: tuple[str, ...]


CaptionerOutcome = Literal["promoted", "kept", "stopped", "too few"]


class CaptionerTurnEnded(Document):
    """How a turn of the captioner ended."""

    at: AwareDatetime
    flow_run: str
    outcome: CaptionerOutcome
    lessons: int
    corrected: int = Field(description="of the lessons, those that a person wrote")
    offered: Digest = Field(description="blob: the CaptionLessons that the turn began with")


class CaptionerLibrary:
    """Reads and appends to the captioner's journals."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def promote(self, promotion: CaptionerPromotion) -> None:
        """Makes a LoRA the captioner's; a second record of the same flow run changes nothing."""
        journal = self.store.journal("captioner/champions", CaptionerPromotion)
        if all(line.flow_run != promotion.flow_run for line in journal.read()):
            journal.append(promotion)

    def champions(self) -> list[CaptionerPromotion]:
        """Every promotion, oldest first."""
        return list(self.store.journal("captioner/champions", CaptionerPromotion).read())

    def loras(self, captioner: str | None) -> tuple[LoraUse, ...]:
        """What the captioner of this pinned reference wears: its newest promotion; a LoRA of another model is none of its."""
        found = [line.lora.digest for line in self.champions() if line.lora.base_model == captioner]
        return (LoraUse(digest=found[-1]),) if found else ()

    # turns

    def open_turn(self, flow_run: str, recipe: Digest, look: Look | None = None) -> TurnOpened:
        """The turn of this flow run: the one it opened before, or the next number; `look` may refuse a further one."""
        return claim_number(self.store, TURNS, flow_run, recipe, look)

    def turns(self) -> list[TurnOpened]:
        """All turns of the captioner, in order."""
        return list(opened_turns(self.store, TURNS))

    def end_turn(
        self, flow_run: str, outcome: CaptionerOutcome, lessons: CaptionLessons, offered: CaptionLessons
    ) -> None:
        """Records how a turn ended that was offered some lessons, and on which of them; a second record of the same flow run changes
        nothing."""
        journal = self.store.journal("captioner/ended", CaptionerTurnEnded)
        line = CaptionerTurnEnded(
            at=datetime.now(UTC),
            flow_run=flow_run,
            outcome=outcome,
            lessons=len(lessons.lessons),
            corrected=lessons.corrected,
            offered=self.store.put_blob(offered.to_bytes()),
        )
        if all(old.flow_run != flow_run for old in journal.read()):
            journal.append(line)

    def ended_turns(self) -> list[CaptionerTurnEnded]:
        """How the ended turns ended, oldest first."""
        return list(self.store.journal("captioner/ended", CaptionerTurnEnded).read())

    def fresh(self, lessons: CaptionLessons) -> int:
        """How many of the captions that people wrote no turn has offered yet to a person who then answered, one way or the other."""
        answered: set[Digest] = set()
        for line in self.ended_turns():
            if line.outcome != "too few":
                offered = CaptionLessons.from_bytes(self.store.get_blob(line.offered), where="the captions of a turn")
                answered |= {lesson.image for lesson in offered.lessons if lesson.corrected}
        return sum(lesson.corrected and lesson.image not in answered for lesson in lessons.lessons)
