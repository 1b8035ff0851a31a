"""The audit: rejected pictures that were drawn by lot and shown all the same. It switches automatic rejection off by itself."""

from collections.abc import Sequence

from flenwheel_core.base.document import Document
from flenwheel_core.base.statistics import binomial_tail

SIGNIFICANCE = 0.025
"""Two tests are made after each gate, of this gate and of all since the critic was promoted: half of 5 % each."""


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


def broken_by(gates: Sequence[AuditedGate], bound: float) -> str:
    """Why the bound does not hold any more, in words; empty while nothing speaks against it. Once broken, later gates do not mend it."""
    for last in range(len(gates)):
        for tested in (gates[last : last + 1], gates[: last + 1]):
            if _too_many(tested, bound):
                lost, looked = sum(one.audited_good for one in tested), sum(one.audited for one in tested)
                where = gates[last].gate if len(tested) == 1 else f"the {len(tested)} gates up to {gates[last].gate}"
                return (
                    f"the audit at {where} found {lost} good among {looked} rejected pictures, "
                    f"more than a loss of {100 * bound:.1f} % explains"
                )
    return ""


def _too_many(gates: Sequence[AuditedGate], bound: float) -> bool:
    """An exact test: with a loss of `bound`, so few of the good pictures that were seen would be rejected ones that were drawn."""
    said, audited = sum(one.said_reject for one in gates), sum(one.audited for one in gates)
    found, good = sum(one.audited_good for one in gates), sum(one.good for one in gates)
    if not said or not audited:
        return False
    share = audited / said
    chance = bound * share / (1 - bound + bound * share)
    return binomial_tail(found, found + good, chance) < SIGNIFICANCE
