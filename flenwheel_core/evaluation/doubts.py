"""Which pictures of a training are doubtful: those of which far less is learned than of pictures like them, while they are still new to it.

A picture of somebody else under the character's name is not learned from the others; it is only learned by heart, later. So the first
look tells most. Pictures are compared with those of the same pose and angle, since bodies and profiles are learned less anyway.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.base.ids import Digest
from flenwheel_core.documents.doubts import CoursePoint, Doubt, LeftOut
from flenwheel_core.documents.images import Labels
from flenwheel_core.documents.loras import PictureLook
from flenwheel_core.recipes.doubts import DoubtsRecipe

LEAST = 8
"""Fewer pictures tell nothing of what is usual."""
LEAST_ALIKE = {"pose": 2, "angle": 4}
"""Fewer pictures of one kind do not make a kind of their own. A single body among heads is like nothing, and is not doubted."""
LEAST_SPREAD = 0.002
"""Falls of the loss that differ by less differ by chance."""
TO_DEVIATION = 1.4826
"""Of the median distance from the median to the standard deviation, for a normal distribution."""


def find_doubts(
    looks: Sequence[PictureLook], labels: Mapping[Digest, Labels], recipe: DoubtsRecipe, training: str
) -> tuple[Doubt, ...]:
    """The doubtful pictures of a training, the worst first, `recipe.most` at most."""
    if not looks:
        return ()
    steps = sorted({look.step for look in looks})
    images = [look.image for look in looks if look.step == steps[0]]
    if len(images) < LEAST:
        return ()
    gains = {step: {look.image: look.gain for look in looks if look.step == step} for step in steps}
    kinds = [labels.get(image, Labels()) for image in images]
    usual = {step: usual_gains([gains[step][image] for image in images], kinds) for step in steps}
    # The fall of the loss, not its share, tells them apart: dark pictures have little loss to begin with.
    learned = [look.learned for look in looks if look.step == steps[0]]
    off = np.asarray(learned) - usual_gains(learned, kinds)
    below = np.where(_alone(kinds), -np.inf, -off / _spread(off))
    found: list[Doubt] = []
    for place in np.argsort(-below, kind="stable").tolist():
        if below[place] < recipe.limit or len(found) == recipe.most:
            break
        course = tuple(
            CoursePoint(step=step, gain=round(gains[step][images[place]], 4), usual=round(float(usual[step][place]), 4))
            for step in steps
        )
        found.append(
            Doubt(
                image=images[place],
                training=training,
                course=course,
                deviations=round(float(below[place]), 2),
                like=kind_words(kinds[place]),
            )
        )
    return tuple(found)


def with_left_out(
    doubts: Sequence[Doubt],
    before: Sequence[PictureLook],
    after: Sequence[PictureLook],
    real: frozenset[Digest],
    labels: Mapping[Digest, Labels],
) -> tuple[Doubt, ...]:
    """The doubts with what a training without them says. `before` and `after` are looks of both at the same step."""
    doubtful = {one.image for one in doubts}
    images = [look.image for look in after if look.image not in doubtful]
    gains = {look.image: look.gain for look in after}
    step = after[0].step if after else 0
    first = {look.image: look.gain for look in before if look.step == step}
    sources = [image for image in images if image in real]
    found = []
    for one in doubts:
        kinds = [labels.get(image, Labels()) for image in (*images, one.image)]
        usual = usual_gains([gains[image] for image in (*images, one.image)], kinds)[-1]
        found.append(
            one.model_copy(
                update={
                    "left_out": LeftOut(
                        step=step,
                        gain=round(gains[one.image], 4),
                        usual=round(float(usual), 4),
                        real_before=_median([first[image] for image in sources if image in first]),
                        real_after=_median([gains[image] for image in sources]),
                    )
                }
            )
        )
    return tuple(found)


def usual_gains(gains: Sequence[float], kinds: Sequence[Labels]) -> NDArray[np.float64]:
    """What is usual for each picture: the median of all, moved to that of its pose (heads or bodies), then of its angle."""
    values = np.asarray(gains, dtype=np.float64)
    usual = np.full(len(values), float(np.median(values)))
    for name in ("pose", "angle"):
        keys = [_kind(labels, name) for labels in kinds]
        left = values - usual
        for key in set(keys):
            own = np.asarray([one == key for one in keys])
            if own.sum() >= LEAST_ALIKE[name]:
                usual[own] += float(np.median(left[own]))
    return usual


def kind_words(labels: Labels) -> str:
    """What a picture is compared with."""
    return f"{'bodies' if _kind(labels, 'pose') == 'body' else 'heads'} like it"


def _kind(labels: Labels, name: str) -> str:
    if name == "pose":
        return "body" if labels.pose not in (None, "portrait") else "head"
    return (labels.angle or "").partition("-")[0]


def _alone(kinds: Sequence[Labels]) -> NDArray[np.bool_]:
    """Which pictures are the only ones of their pose."""
    poses = [_kind(labels, "pose") for labels in kinds]
    return np.asarray([poses.count(pose) < LEAST_ALIKE["pose"] for pose in poses])


def _spread(off: NDArray[np.float64]) -> float:
    return max(LEAST_SPREAD, TO_DEVIATION * float(np.median(np.abs(off - np.median(off)))))


def _median(values: Sequence[float]) -> float:
    return round(float(np.median(values)), 4) if values else 0.0
