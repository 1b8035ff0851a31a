"""One turn of the critic: what each step asks for, written down when it is first asked, as in `flows.turn`."""

from dataclasses import dataclass
from datetime import UTC, datetime

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.critics import CriticLesson, CriticLessons
from flenwheel_core.documents.decisions import ClosedGate, Verdict
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.gates.kinds import VERDICTS
from flenwheel_core.gates.session import ReviewSession
from flenwheel_core.lessons.verdicts import collect_verdicts
from flenwheel_core.library.critics import CriticLibrary, CriticOutcome, CriticPromotion
from flenwheel_core.reports.critic_report import critic_note
from flenwheel_core.requests.critic_look import CriticLookTrainRequest, CriticLookTrainResult
from flenwheel_core.requests.critic_train import CriticTrainRequest, CriticTrainResult
from flows.frozen import SharedTurn


@dataclass(frozen=True)
class CriticTurn(SharedTurn):
    """A turn of the critic."""

    learner = "critic"

    @property
    def library(self) -> CriticLibrary:
        return CriticLibrary(self.store)

    def lessons(self) -> CriticLessons:
        """All verdicts as the turn began."""
        return self.frozen("lessons", CriticLessons, lambda: collect_verdicts(self.store, self.character))

    def look_request(self, step: str, lessons: CriticLessons) -> CriticLookTrainRequest | None:
        """The vision-language model that learns these verdicts; None where the recipe wants none."""
        vision, captioner = self.recipe.critic.vision, self.recipe.models.captioner
        if not vision.learns or captioner is None:
            return None

        def build() -> CriticLookTrainRequest:
            return CriticLookTrainRequest(
                lessons=self.store.put_blob(lessons.to_bytes()),
                model=captioner,
                recipe=vision.train.for_pictures(len(lessons.lessons)),
                most_pixels=vision.most_pixels,
                seed=vision.seed,
            )

        return self.frozen(f"look-{step}", CriticLookTrainRequest, build)

    def train_request(
        self, step: str, lessons: CriticLessons, looked: CriticLookTrainResult | None = None
    ) -> CriticTrainRequest:
        """The critic of these verdicts, beside the promoted one; `looked` is what a vision-language model made of them."""

        def build() -> CriticTrainRequest:
            champion = self.library.champion()
            return CriticTrainRequest(
                lessons=self.store.put_blob(lessons.to_bytes()),
                verifier=self.recipe.critic_verifier,
                champion=champion.critic if champion is not None else None,
                looks=looked.looks if looked is not None else None,
                looker=looked.looker if looked is not None else None,
            )

        return self.frozen(f"train-{step}", CriticTrainRequest, build)

    def gate_d(self, lessons: CriticLessons, trained: CriticTrainResult) -> ReviewSession:
        """The session in which a person sees the comparison, and the verdicts that surprised the critic."""

        def build() -> ReviewSession:
            records, sources = self._records(lessons, trained.worst)
            return ReviewSession(
                gate=f"{self.name}-{VERDICTS.step}-r1",
                kind=VERDICTS.name,
                character=_most_frequent(lessons.lessons),
                turn=self.number,
                round=1,
                images=self.store.put_images(records),
                screenings=self.store.put_screenings(
                    [row for lesson in _by_image(lessons, records) if (row := lesson.screening) is not None]
                ),
                references=sources,
                minimum=0,
                flow_run=self.flow_run,
                note=critic_note(self.store, trained, self.recipe.critic),
            )

        return self.frozen("gate", ReviewSession, build)

    def left_over(self, lessons: CriticLessons, closed: ClosedGate) -> CriticLessons:
        """The lessons without those that a person left out at gate D."""
        decisions = self.reviews.decisions(closed)
        out = set(decisions.images(Verdict.REJECT))
        return CriticLessons(lessons=tuple(lesson for lesson in lessons.lessons if lesson.image not in out))

    def promote(self, trained: CriticTrainResult, closed: ClosedGate) -> None:
        """This critic may reject from now on, where a recipe allows it."""
        self.library.promote(
            CriticPromotion(
                at=datetime.now(UTC),
                critic=trained.critic,
                rung=trained.rung,
                verdicts=trained.lessons,
                flow_run=self.flow_run,
                gate=closed.gate,
                reviewer=closed.reviewer,
                said=trained.comparison.said if trained.comparison is not None else "",
            )
        )

    def end(self, outcome: CriticOutcome, lessons: CriticLessons) -> None:
        """Records how the turn ended."""
        self.library.end_turn(self.flow_run, outcome, len(lessons.lessons))

    def _records(self, lessons: CriticLessons, images: tuple[Digest, ...]) -> tuple[list[ImageRecord], str | None]:
        """The records of pictures from the gates that showed them, and the sources of the first of these gates."""
        gates = {lesson.image: lesson.gate for lesson in lessons.lessons}
        known: dict[Digest, ImageRecord] = {}
        references = None
        for gate in dict.fromkeys(gates[image] for image in images):
            session = self.reviews.get(gate)
            references = references or session.references
            known |= {record.digest: record for record in self.store.get_images(session.images)}
        return [known[image] for image in images if image in known], references


def _by_image(lessons: CriticLessons, records: list[ImageRecord]) -> list[CriticLesson]:
    by_image = {lesson.image: lesson for lesson in lessons.lessons}
    return [by_image[record.digest] for record in records]


def _most_frequent(lessons: tuple[CriticLesson, ...]) -> str:
    names = [lesson.character for lesson in lessons]
    return max(sorted(set(names)), key=names.count)
