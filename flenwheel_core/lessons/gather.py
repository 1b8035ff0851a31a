"""The lessons that wait at gate C: collected, checked, and laid out for review."""

from collections.abc import Sequence

from pydantic import Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.decisions import DecisionSet
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.scores import ReasonCode, Screening, ScreenReason
from flenwheel_core.documents.triplets import Triplet, TripletCheck
from flenwheel_core.gates.kinds import TRIPLETS
from flenwheel_core.gates.settle import lessons as lessons_of
from flenwheel_core.lessons.checks import check_triplets
from flenwheel_core.lessons.collect import collect_triplets, corrected_lessons
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture
from flenwheel_core.store.triplets import get_triplets, put_triplets

_REASONS: dict[str, ReasonCode] = {"shifted": "misaligned", "zoomed": "misaligned"}
_CHECKER = "triplet-checks"
_CHECKER_VERSION = "1"


class Lessons(Document):
    """What was collected for one round of gate C."""

    collected: Digest = Field(description="blob: every triplet there was")
    total: int
    usable: Digest = Field(description="blob: those the checks let through, in the order of the images")
    images: Digest = Field(description="image set of their targets, for the gate")
    screenings: Digest = Field(description="screening table of the same")
    passed: int
    doubtful: int
    left_out: dict[str, int] = Field(description="triplets that failed, by problem")

    def summary(self) -> str:
        dropped = ", ".join(f"{number} {code}" for code, number in sorted(self.left_out.items()))
        return f"{self.passed} lessons, {self.doubtful} doubtful, {sum(self.left_out.values())} left out" + (
            f" ({dropped})" if dropped else ""
        )


def gather_lessons(store: Store, character: str | None) -> Lessons:
    """Collects and checks the triplets of a character, or of all of them."""
    triplets = [t for t in collect_triplets(store).triplets if character is None or t.character == character]
    checks = check_triplets(store, triplets)
    left_out: dict[str, int] = {}
    for check in checks:
        if check.outcome == "fail":
            left_out[check.problems[0].code] = left_out.get(check.problems[0].code, 0) + 1
    kept = [(triplet, check) for triplet, check in zip(triplets, checks, strict=True) if check.outcome != "fail"]
    # A picture is one row of the gate: a target that teaches two prompts is decided about once.
    shown = list({triplet.target: (triplet, check) for triplet, check in kept}.values())
    return Lessons(
        collected=put_triplets(store, triplets),
        total=len(triplets),
        usable=put_triplets(store, [triplet for triplet, _ in kept]),
        images=store.put_images([_record(store, triplet) for triplet, _ in shown]),
        screenings=store.put_screenings([_screening(check) for _, check in shown]),
        passed=sum(check.outcome == "pass" for _, check in kept),
        doubtful=sum(check.outcome == "unsure" for _, check in kept),
        left_out=left_out,
    )


def approved_lessons(store: Store, lessons: Lessons, decisions: DecisionSet) -> tuple[Triplet, ...]:
    """The lessons that a person, or the policy they chose, let through at gate C, with the corrections given there."""
    allowed = {decision.usable for decision in lessons_of(decisions.decisions, TRIPLETS)}
    triplets = corrected_lessons(get_triplets(store, lessons.usable).triplets, decisions)
    return tuple(triplet for triplet in triplets if triplet.target in allowed)


def characters_of(triplets: Sequence[Triplet]) -> tuple[str, ...]:
    """Names of the characters the triplets show, most frequent first."""
    names = [triplet.character for triplet in triplets]
    return tuple(sorted(set(names), key=lambda name: (-names.count(name), name)))


def _record(store: Store, triplet: Triplet) -> ImageRecord:
    image = load_picture(store, triplet.target)
    return ImageRecord(
        digest=triplet.target,
        width=image.width,
        height=image.height,
        kind=ImageKind.CORRECTED if triplet.kind == "corrected" else ImageKind.ENRICHED,
        parents=(triplet.source, *triplet.references, *([triplet.rejected] if triplet.rejected else [])),
        prompt=triplet.prompt,
        stage="triplets",
        request=triplet.content_digest(),
        item=triplet.gate,
        turn=triplet.turn,
        labels=triplet.labels,
    )


def _screening(check: TripletCheck) -> Screening:
    return Screening(
        image=check.target,
        outcome=check.outcome,
        reasons=tuple(
            ScreenReason(code=_REASONS[problem.code], value=problem.value, limit=problem.limit, detail=problem.code)
            for problem in check.problems
        ),
        verifier=_CHECKER,
        verifier_version=_CHECKER_VERSION,
    )
