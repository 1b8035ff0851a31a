"""An edit that is asked for again starts from what it started from before."""

import pytest

from flenwheel_core.documents.decisions import FinalDecision, Verdict
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flows.rounds import _again

SOURCE, REFERENCE = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("kind", "parents", "references"),
    [
        (ImageKind.ENRICHED, (SOURCE,), ()),
        (ImageKind.ENRICHED, (SOURCE, REFERENCE), (REFERENCE,)),
        (ImageKind.SYNTHETIC, (), ()),
    ],
)
def test_a_better_prompt_gets_the_same_pictures(
    kind: ImageKind, parents: tuple[str, ...], references: tuple[str, ...]
) -> None:
    record = ImageRecord(
        digest="c" * 64, width=8, height=8, kind=kind, parents=parents, stage="enrich", request="1" * 64, item="edit-1"
    )
    decision = FinalDecision(
        image=record.digest, verdict=Verdict.NEEDS_CORRECTION, better_prompt="smiling", author="me"
    )
    item = _again(decision, record, 1)
    assert (item.source, item.references, item.prompt) == ((parents or (record.digest,))[0], references, "smiling")
