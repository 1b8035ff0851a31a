"""Verdicts of a reviewer with a simple hidden rule: near to the character, and never on the beach."""

from collections.abc import Sequence

import numpy as np

from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.documents.critics import CriticLesson, Judgeable
from flenwheel_core.documents.decisions import Verdict
from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.scores import Screening

PLACES = ("beach", "forest", "studio", "urban")
THRESHOLD = 0.3


def picture(number: int, random: np.random.Generator, *, character: str = "mira", kind: str = "enriched") -> Judgeable:
    """A picture that screening knows something of; four in a row have one source."""
    image, distance = digest_bytes(f"{character}{number}".encode()), abs(float(random.normal(0.3, 0.2)))
    row = Screening(
        image=image, outcome="pass" if distance < THRESHOLD else "unsure", verifier="subject", verifier_version="test",
        distance=distance, similarity=1 - distance, sharpness=float(np.exp(random.normal(4, 0.5))), brightness=120.0,
        read=Labels(background=str(random.choice(PLACES))),
    )  # fmt: skip
    source = digest_bytes(f"{character} source {number // 4 % 8}".encode())
    return Judgeable(
        image=image, character=character, kind=kind, editor="nano", source=source, screening=row, threshold=THRESHOLD
    )


def opinion(one: Judgeable, random: np.random.Generator, *, strict: float = 0.0, noise: float = 0.4) -> Verdict:
    """The hidden rule."""
    row = one.screening
    assert row is not None and row.distance is not None
    liking = 2.2 - strict - 8 * row.distance - (3.5 if row.read.background == "beach" else 0) + random.normal(0, noise)
    return Verdict.GOOD if liking > 0 else Verdict.NEEDS_CORRECTION if liking > -0.8 else Verdict.REJECT


def lessons(
    count: int, *, turns: int = 4, seed: int = 0, character: str = "mira", strict: float = 0.0, noise: float = 0.4,
    fair: bool = True,
) -> list[CriticLesson]:  # fmt: skip
    """So many verdicts, spread evenly over the turns."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        one = picture(number + 10_000 * seed, random, character=character)
        verdict, turn = opinion(one, random, strict=strict, noise=noise), number * turns // count + 1
        row = one.screening
        assert row is not None
        reasons = (
            () if verdict is Verdict.GOOD else ("background",) if row.read.background == "beach" else ("identity",)
        )
        found.append(
            CriticLesson(
                **dict(one),
                gate=f"{character}-t{turn}-gate-a-r1",
                turn=turn,
                verdict=verdict,
                reasons=reasons,
                fair=fair,
            )
        )
    return found


def pictures(count: int, seed: int) -> list[Judgeable]:
    """Pictures that nobody judged yet."""
    random = np.random.default_rng(seed)
    return [picture(number + 10_000 * seed, random) for number in range(count)]


def eyes(of: Sequence[Judgeable]) -> dict[str, tuple[float, ...]]:
    """Embeddings in which the beach and the distance can be seen."""
    found = {}
    for one in of:
        row = one.screening
        assert row is not None and row.distance is not None
        mixed = np.random.default_rng(int(one.image[:8], 16)).normal(0, 0.05, 8)
        mixed[:3] += (1.0, row.distance * 3, float(row.read.background == "beach"))
        found[one.image] = tuple(mixed.tolist())
    return found
