"""The pictures that nano benchmarks ask for."""

from flenwheel_core.documents.images import ANGLES, EXPRESSIONS
from flenwheel_core.nano.world import BACKGROUNDS, LIGHTINGS, View

CELLS = [
    View(angle, expression, background=BACKGROUNDS[(3 * a + e) % 7], lighting=LIGHTINGS[(a + e) % 4], seed=a * 4 + e)
    for a, angle in enumerate(ANGLES)
    for e, expression in enumerate(EXPRESSIONS)
]
"""The portraits of the model card, each on a background and in a light."""
