"""How far a head is turned, from two witnesses: the mesh up to about 60 degrees, and how near the eyes stand in a profile.

Measured on photographs and on a rendered head of known turn (docs/measurements/people.md).
"""

import math

import numpy as np

from flenwheel_core.documents.images import Angle
from flenwheel_core.identity.any_angle import Found
from flenwheel_core.identity.face_mesh import CERTAIN, Mesh

FRONT_BELOW = 22.0
HALF_BELOW = 55.0
"""Degrees. The card's half views stand at 45, its profiles at 90."""
EYES_APART = (0.05, 0.08, 0.15, 0.22, 0.30, 0.40, 0.44, 0.46)
TURNED_BY = (90.0, 75.0, 62.0, 54.0, 45.0, 30.0, 15.0, 0.0)
"""Degrees that go with a distance of the detector's eyes, in widths of the face: from a rendered head."""
MESH_ALONE_UP_TO = 45.0
MESH_BEYOND = 100.0


def turn_of(found: Found, mesh: Mesh) -> float:
    """Degrees; positive if the nose points to the right of the picture. Good to about 5 up to 60, to about 15 beyond."""
    eyes = float(np.hypot(*(found.points[1] - found.points[0]))) / max(found.width, 1.0)
    by_eyes = float(np.interp(eyes, EYES_APART, TURNED_BY))
    # In a profile eyes, nose and mouth all lie in the half of the box that the face looks to.
    middle = float(found.points[:, 0].mean()) - (found.left + found.right) / 2
    side = 1.0 if middle >= 0 else -1.0
    by_mesh = mesh.turn
    certain = mesh.certainty >= CERTAIN
    if certain and abs(by_mesh) <= MESH_ALONE_UP_TO:
        return by_mesh
    if by_mesh * side > 0 and abs(by_mesh) < MESH_BEYOND:
        return side * (abs(by_mesh) + by_eyes) / 2
    return side * by_eyes


ERRS_BY, ERRS_BEYOND_BY = 5.0, 15.0
"""Degrees by which a turn is read wrong, up to RELIABLE_UP_TO and beyond."""
RELIABLE_UP_TO = 60.0


def angle_belief(turn: float) -> float:
    """How likely the head's true angle is the one that `angle_of` names: a turn near a limit between two is read as either."""
    size = abs(turn)
    spread = (ERRS_BY if size <= RELIABLE_UP_TO else ERRS_BEYOND_BY) * math.sqrt(2)
    limits = (-FRONT_BELOW, FRONT_BELOW, HALF_BELOW, math.inf)
    at = next(index for index, limit in enumerate(limits[1:], 1) if size < limit)
    return round((math.erf((limits[at] - size) / spread) - math.erf((limits[at - 1] - size) / spread)) / 2, 4)


def angle_of(turn: float) -> Angle:
    """The card's angle. Named after the picture's sides, as in the prompts: a nose to the left is a left view."""
    if abs(turn) < FRONT_BELOW:
        return "front"
    if abs(turn) < HALF_BELOW:
        return "half-right" if turn > 0 else "half-left"
    return "profile-right" if turn > 0 else "profile-left"
