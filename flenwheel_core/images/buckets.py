"""Aspect-ratio buckets: pictures keep their shape, batches keep one size."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_RATIO = 2.5


@dataclass(frozen=True)
class Placement:
    """Where a picture goes: scaled to `scaled` (width, height), then cut to the bucket from the centre."""

    width: int
    height: int
    scaled: tuple[int, int]

    @property
    def bucket(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def cropped_share(self) -> float:
        """How much of the picture's area is cut away."""
        return 1 - self.width * self.height / (self.scaled[0] * self.scaled[1])


def bucket_sides(resolution: int, step: int, *, aspect: bool) -> list[tuple[int, int]]:
    """(width, height) of all buckets: multiples of `step` whose area is at most resolution squared, up to 1:2.5."""
    sides = {(resolution, resolution)}
    if aspect:
        for width in range(step, resolution * 3, step):
            height = resolution * resolution // width // step * step
            if height and max(width / height, height / width) <= MAX_RATIO:
                sides.add((width, height))
    return sorted(sides)


def place(size: tuple[int, int], sides: Sequence[tuple[int, int]]) -> Placement:
    """The bucket that cuts least from a picture of `size` (width, height)."""
    width, height = size
    return min(
        (_cover(width, height, bucket) for bucket in sides),
        key=lambda p: (round(p.cropped_share, 4), -p.width * p.height, p.width),
    )


def _cover(width: int, height: int, bucket: tuple[int, int]) -> Placement:
    scale = max(bucket[0] / width, bucket[1] / height)
    scaled = (max(bucket[0], round(width * scale)), max(bucket[1], round(height * scale)))
    return Placement(bucket[0], bucket[1], scaled)


def bucket_report(placements: Sequence[Placement]) -> str:
    """How many pictures each bucket holds and how much is cut, for people, before training."""
    counts = Counter(p.bucket for p in placements)
    worst = {b: max(p.cropped_share for p in placements if p.bucket == b) for b in counts}
    return ", ".join(f"{count} in {bucket} (at most {worst[bucket]:.0%} cut)" for bucket, count in counts.most_common())


def fit(image: "Image", placement: Placement) -> "Image":
    """`image` scaled, and cut from its centre, to its bucket."""
    from PIL.Image import Resampling

    if image.size != placement.scaled:
        image = image.resize(placement.scaled, Resampling.LANCZOS)
    left = (placement.scaled[0] - placement.width) // 2
    top = (placement.scaled[1] - placement.height) // 2
    return image.crop((left, top, left + placement.width, top + placement.height))
