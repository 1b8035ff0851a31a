"""The verifier of styles: how a picture is painted, as the numbers of `images.style_features`. It needs no weights and knows nobody.

Each feature is told in spreads of ordinary pictures, from their middle, so that a distance is how far two pictures are from each other in
manner and a cosine whether they leave the ordinary in the same direction. A single picture says little of a style: what a LoRA is promoted
by is a distance of many pictures (`evaluation.style_distance`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image

from flenwheel_core.base.ids import digest_json
from flenwheel_core.identity.fingerprint import ThresholdRule
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.images.style_features import NAMES, SIDE_PX, style_features

STYLE = "style"
"""How a recipe names this verifier."""
ORDINARY: dict[str, tuple[float, float]] = {
    "near_black": (0.07, 0.1),
    "shadow_chroma": (24.0, 11.0),
    "shadow_hue": (0.6, 0.7),
    "broken_colour": (4.0, 1.5),
    "broken_light": (4.0, 1.5),
    "chroma": (27.0, 9.0),
    "detail": (-2.0, 0.5),
    "coherence_1": (0.8, 0.07),
    "coherence_2": (0.68, 0.08),
    "coherence_4": (0.6, 0.1),
    "orientations_1": (0.92, 0.08),
    "orientations_2": (0.9, 0.1),
    "orientations_4": (0.87, 0.12),
    "stroke_length": (6.3, 1.1),
    "stroke_width": (1.5, 0.2),
}
"""Middle and spread of each feature among photos, rounded: renders of the nano world and the photos that scikit-image ships."""
RULE = ThresholdRule(distance="euclidean", margin=0.2, floor=0.6, cap=2.5, unsure_margin=0.4)
"""Distances are root mean squares over the features, in their spreads: 1 is one spread in each of them."""
_CENTRE = np.array([ORDINARY[name][0] for name in NAMES])
_SPREAD = np.array([ORDINARY[name][1] for name in NAMES])


class StyleVerifier:
    """Embeds the manner of pictures."""

    name = STYLE
    version = digest_json({"features": list(NAMES), "side_px": SIDE_PX, "ordinary": ORDINARY})
    threshold_rule = RULE
    sees_whole_picture = False

    def embed(self, images: Sequence[Image.Image]) -> list[Embedded]:
        """One vector a picture, in order."""
        values = [style_features(image).values for image in images]
        rows = [(one - _CENTRE) / _SPREAD / np.sqrt(len(NAMES)) for one in values]
        return [Embedded(tuple(float(value) for value in row)) for row in rows]

    def prompt_fidelity(self, embedded: Sequence[Embedded], prompts: Sequence[str]) -> list[float | None]:
        """It knows no text."""
        return [None] * len(prompts)


@contextmanager
def open_style_verifier() -> Iterator[StyleVerifier]:
    """A context that holds the verifier of styles."""
    yield StyleVerifier()
