"""Bulk decisions: many pictures by one rule, counted before they are made, taken back as one."""

from typing import Literal

from pydantic import Field, model_validator

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import InputError
from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.scores import Screening, ScreenOutcome
from flenwheel_core.gates.session import OpenedGate

Measure = Literal["similarity", "sharpness", "brightness", "nearest_distance"]


class BulkRule(Document):
    """Which pictures a bulk decision is about: a threshold on a score, a screening outcome, or pictures picked by hand."""

    images: tuple[Digest, ...] | None = Field(default=None, max_length=20_000, description="pictures picked by hand")
    measure: Measure | None = Field(default=None, description="the score a threshold is set on")
    below: float | None = Field(default=None, allow_inf_nan=False, description="pictures whose score is below this")
    at_least: float | None = Field(
        default=None, allow_inf_nan=False, description="pictures whose score is this or more"
    )
    outcome: ScreenOutcome | None = Field(default=None, description="pictures with this screening outcome")
    only_undecided: bool = Field(default=True, description="leave pictures alone that somebody decided about already")

    @model_validator(mode="after")
    def _says_which(self) -> "BulkRule":
        if self.measure is not None and self.below is None and self.at_least is None:
            raise ValueError("a measure needs a threshold: below or at_least")
        if self.measure is None and (self.below is not None or self.at_least is not None):
            raise ValueError("a threshold needs a measure")
        if self.images is None and self.measure is None and self.outcome is None:
            raise ValueError("say which pictures: images, a measure with a threshold, or an outcome")
        return self


def matching(opened: OpenedGate, rule: BulkRule) -> tuple[Digest, ...]:
    """The pictures a rule is about, in the gate's order. A picture without the score is never matched by a threshold."""
    state = opened.state()
    picked = None if rule.images is None else set(rule.images)
    if picked is not None and not picked <= opened.by_digest.keys():
        raise InputError("A picked picture does not belong to this gate.", remedy="Reload the page.")
    found = []
    for record in opened.images:
        if picked is not None and record.digest not in picked:
            continue
        if not _scores_match(opened.screenings.get(record.digest), rule):
            continue
        picture = state.picture(record.digest)
        if rule.only_undecided and (picture.conflict or picture.verdict is not None):
            continue
        found.append(record.digest)
    return tuple(found)


def _scores_match(screening: Screening | None, rule: BulkRule) -> bool:
    if rule.outcome is not None and (screening is None or screening.outcome != rule.outcome):
        return False
    if rule.measure is None:
        return True
    value = None if screening is None else getattr(screening, rule.measure)
    if value is None:
        return False
    if rule.below is not None and value >= rule.below:
        return False
    return rule.at_least is None or value >= rule.at_least
