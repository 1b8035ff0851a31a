"""Pictures of the training pool that a training finds doubtful: the evidence, and what a person decided."""

from pydantic import AwareDatetime, Field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.images import is_empty, is_unset


class CoursePoint(Document):
    """How far a picture was learned after a step, beside its like."""

    step: int
    gain: float = Field(description="share of the base's loss on it that was learned away")
    usual: float = Field(description="the median of the pictures like it")


class LeftOut(Document):
    """What a training without the doubtful pictures says of one of them."""

    step: int
    gain: float = Field(description="share of the base's loss on it that the others alone taught")
    usual: float = Field(description="the median of the pictures that were trained on, of its like")
    real_before: float = Field(description="median gain of the real sources with the doubtful pictures")
    real_after: float = Field(description="the same without them")


class Doubt(Document):
    """A picture that is learned less than its like."""

    image: Digest
    training: str = Field(description="name of the LoRA whose training found it")
    course: tuple[CoursePoint, ...] = Field(min_length=1)
    deviations: float = Field(description="below its like at the first look, in robust standard deviations")
    like: str = Field(description="what it was compared with, in words")
    left_out: LeftOut | None = Field(
        default=None, exclude_if=is_unset, description="None: nothing was trained without it"
    )

    def sentences(self) -> tuple[str, ...]:
        """The evidence for people."""
        first = self.course[0]
        said = [
            f"After step {first.step} of {self.training} {first.gain:.0%} of what the base got wrong about it was learned; about "
            f"{self.like} {first.usual:.0%}: {self.deviations:.1f} deviations less."
        ]
        said += [f"After step {one.step}: {one.gain:.0%}, the others {one.usual:.0%}." for one in self.course[1:]]
        if self.left_out is not None:
            out = self.left_out
            said.append(
                f"Trained without it, {out.gain:.0%} of it was learned from the others, of its like {out.usual:.0%}; of the real sources "
                f"{out.real_after:.0%}, and {out.real_before:.0%} with it."
            )
        return tuple(said)


class DoubtDecided(Document):
    """What a person said of a doubtful picture. Nothing leaves the pool: what is left out is not trained on, and may come back."""

    at: AwareDatetime
    by: str
    image: Digest
    keep: bool
    gate: str = Field(default="", exclude_if=is_empty, description="the gate at which it was said; empty: at none")
