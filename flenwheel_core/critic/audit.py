"""What switches automatic rejection off by itself: rejected pictures that were drawn by lot and shown all the same, and good pictures
that score lower than good ones did."""

from collections.abc import Mapping, Sequence

from flenwheel_core.base.document import Document
from flenwheel_core.base.ids import Digest
from flenwheel_core.base.statistics import binomial_tail, rank_tail
from flenwheel_core.documents.critics import CriticView
from flenwheel_core.documents.decisions import Verdict

SIGNIFICANCE = 0.025
"""Two tests of the audit are made after each gate, of this gate and of all since the critic was promoted: half of 5 % each."""
TASTE_SIGNIFICANCE = 0.002
"""Of each test for another taste. Some are made after every gate, so each has to be sure."""
WINDOWS = (1, 4)
"""Last gates that are looked at together for another taste, beside all of them: a sudden change shows in few, a slow one in many."""


class AuditedGate(Document):
    """What a gate told about a critic that rejected there."""

    gate: str
    said_reject: int
    """Pictures that the critic rejected, drawn ones too."""
    audited: int
    """Of these, drawn and judged."""
    audited_good: int
    """Of these, good."""
    good: int
    """Good pictures that the critic did not reject."""
    seen_good: int = 0
    """Pictures that a person looked at and called good."""
    low_good: int = 0
    """Of these, with a score below that of the `low_rank`-th lowest of `low_of` held-out good pictures."""
    low_rank: int = 0
    low_of: int = 0


def audited_gate(gate: str, view: CriticView, verdicts: Mapping[Digest, Verdict]) -> AuditedGate:
    """What a closed gate told about the critic of its view; `verdicts` are those that people gave."""
    said = [row for row in view.pictures if row.says_reject]
    audited = [row for row in said if row.audit and row.image in verdicts]
    good = [row for row in view.pictures if verdicts.get(row.image) is Verdict.GOOD]
    return AuditedGate(
        gate=gate,
        said_reject=len(said),
        audited=len(audited),
        audited_good=sum(verdicts[row.image] is Verdict.GOOD for row in audited),
        good=sum(not row.says_reject for row in good),
        seen_good=len(good),
        low_good=sum(row.low for row in good),
        low_rank=view.cut.low_rank if view.cut is not None else 0,
        low_of=view.cut.goods if view.cut is not None else 0,
    )


def broken_by(gates: Sequence[AuditedGate], bound: float) -> str:
    """Why the bound does not hold any more, in words; empty while nothing speaks against it. Once broken, later gates do not mend it."""
    for last in range(len(gates)):
        for tested in (gates[last : last + 1], gates[: last + 1]):
            if _too_many(tested, bound):
                lost, looked = sum(one.audited_good for one in tested), sum(one.audited for one in tested)
                return (
                    f"the audit at {_where(tested)} found {lost} good among {looked} rejected pictures, "
                    f"more than a loss of {100 * bound:.1f} % explains"
                )
        for most in (*WINDOWS, last + 1):
            said = _another_taste(gates[max(0, last + 1 - most) : last + 1])
            if said:
                return said
    return ""


def _where(gates: Sequence[AuditedGate]) -> str:
    last = gates[-1].gate
    return last if len(gates) == 1 else f"the {len(gates)} gates up to {last}"


def _too_many(gates: Sequence[AuditedGate], bound: float) -> bool:
    """An exact test: with a loss of `bound`, so few of the good pictures that were seen would be rejected ones that were drawn."""
    said, audited = sum(one.said_reject for one in gates), sum(one.audited for one in gates)
    found, good = sum(one.audited_good for one in gates), sum(one.good for one in gates)
    if not said or not audited:
        return False
    share = audited / said
    chance = bound * share / (1 - bound + bound * share)
    return binomial_tail(found, found + good, chance) < SIGNIFICANCE


def _another_taste(gates: Sequence[AuditedGate]) -> str:
    """An exact test: so many of the good pictures would not score that low if they were like those that the limit was set by.

    What was set aside is not seen, and it scores lowest: the test then has less to go by, and errs towards silence.
    """
    alike = [
        one for one in gates if one.low_rank and (one.low_rank, one.low_of) == (gates[-1].low_rank, gates[-1].low_of)
    ]
    if not alike:
        return ""
    low, good = sum(one.low_good for one in alike), sum(one.seen_good for one in alike)
    rank, known = alike[-1].low_rank, alike[-1].low_of
    if rank_tail(low, good, rank, known) >= TASTE_SIGNIFICANCE:
        return ""
    return (
        f"of {good} good pictures at {_where(alike)}, {low} score as low as {rank} of {known} did when the critic was let through: "
        "the taste is another, or the pictures are"
    )
