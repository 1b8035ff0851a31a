"""Prompt-pattern statistics: which templates make pictures that pass screening and that people keep.

Counted per template, model and LoRA version: a template that fails with one editor may work with the next. The next plan draws
templates by these figures.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import short
from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.documents.scores import Screening

PRIOR_PICTURES = 4
"""A template is believed to be average until about this many pictures say otherwise."""


class TemplateStatistics(Document):
    """How one template fared with one model and LoRA version."""

    template: str
    model: str
    loras: tuple[str, ...]
    made: int
    screened_out: int
    reviewed: int
    good: int
    reasons: dict[str, int]
    """How many pictures failed screening or were rejected, by reason."""

    def good_rate_text(self) -> str:
        """Of what was judged, by screening or by a person, the share that is good, with its interval."""
        return wilson(self.good, self.reviewed + self.screened_out).text()


@dataclass
class _Count:
    made: int = 0
    screened_out: int = 0
    reviewed: int = 0
    good: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def because(self, code: str) -> None:
        self.reasons[code] = self.reasons.get(code, 0) + 1


def template_statistics(
    records: Iterable[ImageRecord], screenings: Iterable[Screening], decisions: Iterable[FinalDecision]
) -> tuple[TemplateStatistics, ...]:
    """One row for each template, model and LoRA version, in a fixed order. Several turns may be given at once."""
    outcomes = {row.image: row for row in screenings}
    verdicts = {decision.image: decision for decision in decisions if not decision.by_policy}
    counts: dict[tuple[str, str, tuple[str, ...]], _Count] = {}
    for record in {record.digest: record for record in records}.values():
        if record.template is None:
            continue
        key = (record.template, record.model or "", tuple(short(use.digest) for use in record.loras))
        count = counts.setdefault(key, _Count())
        count.made += 1
        row, decision = outcomes.get(record.digest), verdicts.get(record.digest)
        # A person who overrules screening is right.
        if decision is not None:
            count.reviewed += 1
            count.good += decision.verdict is Verdict.GOOD
            for reason in decision.reasons:
                count.because(reason)
        elif row is not None and row.outcome == "fail":
            count.screened_out += 1
            for first in row.reasons[:1]:
                count.because(first.code)
    return tuple(_row(key, counts[key]) for key in sorted(counts))


def _row(key: tuple[str, str, tuple[str, ...]], count: _Count) -> TemplateStatistics:
    template, model, loras = key
    ordered = dict(sorted(count.reasons.items()))
    return TemplateStatistics(
        template=template,
        model=model,
        loras=loras,
        made=count.made,
        screened_out=count.screened_out,
        reviewed=count.reviewed,
        good=count.good,
        reasons=ordered,
    )


def template_weights(
    rows: Sequence[TemplateStatistics], *, model: str | None = None, loras: tuple[str, ...] | None = None
) -> Mapping[str, float]:
    """How often each template gives a good picture, 0 to 1, drawn toward the average while there are few.

    With `model` and `loras` only their rows count where there are any: what an older editor could not do is no evidence.
    """
    fitting = [
        row
        for row in rows
        if (model is None or row.model == model)
        and (loras is None or row.loras == tuple(short(name) for name in loras))
    ]
    used = fitting or list(rows)
    good = sum(row.good for row in used)
    judged = sum(row.reviewed + row.screened_out for row in used)
    average = (good + 1) / (judged + 2)
    weights: dict[str, float] = {}
    for template in dict.fromkeys(row.template for row in used):
        own = [row for row in used if row.template == template]
        own_good = sum(row.good for row in own)
        own_judged = sum(row.reviewed + row.screened_out for row in own)
        weights[template] = round((own_good + average * PRIOR_PICTURES) / (own_judged + PRIOR_PICTURES), 5)
    return weights
