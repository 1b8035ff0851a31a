"""One turn of the captioner: what each step asks for, written down when it is first asked, as in `flows.turn`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.caption_lessons import CaptionLesson, CaptionLessons
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.documents.images import ImageRecord, LoraUse
from flenwheel_core.documents.loras import LoraRecord
from flenwheel_core.gates.kinds import CAPTIONS
from flenwheel_core.gates.session import ReviewSession
from flenwheel_core.lessons.captions import after_gate, collect_captions, held_out
from flenwheel_core.library.captioners import CaptionerLibrary, CaptionerOutcome, CaptionerPromotion
from flenwheel_core.requests.caption_compare import CaptionCompareRequest, CaptionCompareResult, ComparedCaption
from flenwheel_core.requests.vl_train import VlItem, VlTrainRequest
from flows.frozen import SharedTurn


@dataclass(frozen=True)
class CaptionerTurn(SharedTurn):
    """A turn of the captioner."""

    learner = "captioner"

    @property
    def library(self) -> CaptionerLibrary:
        return CaptionerLibrary(self.store)

    @property
    def captioner(self) -> str:
        """The pinned captioner; a turn is opened only where the recipe names one."""
        assert self.recipe.models.captioner is not None
        return self.recipe.models.captioner

    def lessons(self) -> CaptionLessons:
        """The captions as the turn began."""
        return self.frozen("lessons", CaptionLessons, lambda: collect_captions(self.store, self.character))

    def split(self, lessons: CaptionLessons) -> tuple[list[CaptionLesson], list[CaptionLesson]]:
        """The lessons to learn, and those held out for the comparison."""
        return held_out(lessons.lessons, self.recipe.captioner.holdout_share)

    def train_request(self, step: str, learned: Sequence[CaptionLesson]) -> VlTrainRequest:
        """The LoRA of these lessons, always from the bare model."""

        def build() -> VlTrainRequest:
            chosen = self.recipe.captioner
            return VlTrainRequest(
                name=self.name,
                model=self.captioner,
                items=tuple(VlItem(kind="caption", images=(one.image,), answer=one.caption) for one in learned),
                recipe=chosen.train.for_pictures(len(learned)),
                most_pixels=chosen.most_pixels,
                seed=chosen.seed,
                backend=chosen.backend,
            )

        return self.frozen(f"train-{step}", VlTrainRequest, build)

    def compare_request(self, step: str, held: Sequence[CaptionLesson], lora: LoraRecord) -> CaptionCompareRequest:
        """The present captioner and the new one on the held-out captions."""

        def build() -> CaptionCompareRequest:
            return CaptionCompareRequest(
                items=tuple(
                    ComparedCaption(image=one.image, caption=one.caption, trigger=one.trigger, corrected=one.corrected)
                    for one in held
                ),
                captioner=self.captioner,
                champion=self.library.loras(self.captioner),
                challenger=(LoraUse(digest=lora.digest),),
                significance=self.recipe.captioner.significance,
            )

        return self.frozen(f"compare-{step}", CaptionCompareRequest, build)

    def gate_d(self, lessons: CaptionLessons, score: CaptionCompareResult) -> ReviewSession:
        """The session in which a person sees the comparison and approves the captions."""

        def build() -> ReviewSession:
            return ReviewSession(
                gate=f"{self.name}-{CAPTIONS.step}-r1",
                kind=CAPTIONS.name,
                character=_most_frequent(lessons.lessons),
                turn=self.number,
                round=1,
                images=self.store.put_images(self._records(lessons)),
                minimum=0,
                flow_run=self.flow_run,
                note=_note(lessons, score),
            )

        return self.frozen("gate", ReviewSession, build)

    def kept(self, lessons: CaptionLessons, closed: ClosedGate) -> CaptionLessons:
        """The lessons without those that a person left out at gate D, in the words that they wrote there."""

        def build() -> CaptionLessons:
            said = self.reviews.said(closed.gate)
            left = (after_gate(lesson, said.get(lesson.image)) for lesson in lessons.lessons)
            return CaptionLessons(lessons=tuple(lesson for lesson in left if lesson is not None))

        return self.frozen("kept", CaptionLessons, build)

    def promote(
        self, lora: LoraRecord, score: CaptionCompareResult, lessons: CaptionLessons, closed: ClosedGate
    ) -> None:
        """The next ingest describes pictures with this LoRA."""
        self.library.promote(
            CaptionerPromotion(
                at=datetime.now(UTC),
                lora=lora,
                scorecard=score.challenger,
                lessons=len(lessons.lessons),
                flow_run=self.flow_run,
                gate=closed.gate,
                reviewer=closed.reviewer,
                reasons=score.comparison.reasons,
            )
        )

    def end(self, outcome: CaptionerOutcome, lessons: CaptionLessons) -> None:
        """Records how the turn ended."""
        self.library.end_turn(self.flow_run, outcome, lessons, self.lessons())

    def _records(self, lessons: CaptionLessons) -> list[ImageRecord]:
        """The records of the lessons' pictures, each with the caption that is to be learned."""
        known: dict[Digest, ImageRecord] = {}
        for gate in dict.fromkeys(lesson.gate for lesson in lessons.lessons):
            known |= {record.digest: record for record in self.store.get_images(self.reviews.get(gate).images)}
            known |= self.reviews.corrections(gate)
        return [
            known[lesson.image].model_copy(update={"caption": lesson.caption})
            for lesson in lessons.lessons
            if lesson.image in known
        ]


def _note(lessons: CaptionLessons, score: CaptionCompareResult) -> str:
    reasons = "; ".join(score.comparison.reasons)
    written = f"{lessons.corrected} of {len(lessons.lessons)} captions were written by people, the others stood."
    would = "would be promoted" if score.comparison.promote else "would be kept back"
    return (
        f"On {len(score.challenger.captions)} pictures that it had not learned, the new captioner {would}: {reasons}. {written}"
        " Change a caption, or reject a picture to leave it out: it is then trained and compared again."
    )


def _most_frequent(lessons: Sequence[CaptionLesson]) -> str:
    names = [lesson.character for lesson in lessons]
    return max(sorted(set(names)), key=names.count)
