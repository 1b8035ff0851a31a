"""What is known of pictures before anybody looks: their records and screenings in one, and their embeddings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from flenwheel_core.base.ids import Digest, short
from flenwheel_core.documents.critics import Judgeable
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.documents.scores import Screening


def judgeable(
    record: ImageRecord, screening: Screening | None, *, character: str, kind: str, threshold: float | None
) -> Judgeable:
    """One picture as the critic sees it. `kind` is the kind of the gate, `threshold` the character's identity threshold."""
    return Judgeable(
        image=record.digest,
        character=character,
        kind=kind,
        editor=made_by(record),
        source=record.parents[0] if record.parents else None,
        asked=record.labels,
        screening=screening,
        threshold=threshold,
    )


def judgeables(
    records: Iterable[ImageRecord],
    screenings: Mapping[Digest, Screening],
    *,
    character: str,
    kind: str,
    threshold: float | None,
) -> Iterator[Judgeable]:
    """The pictures of a gate, in its order."""
    for record in records:
        yield judgeable(record, screenings.get(record.digest), character=character, kind=kind, threshold=threshold)


def made_by(record: ImageRecord) -> str:
    """What made a picture: the model, and for an edit its LoRAs. Every turn draws with another LoRA, so that one is left out."""
    worn: Sequence[str] = ()
    if record.kind is not ImageKind.SYNTHETIC:
        worn = [f"{short(lora.digest)}*{lora.weight:g}" for lora in record.loras]
    return " + ".join([record.model or "", *worn])
