"""Are people found however they are turned, and are their angle and expression read right? Writes people_detection and people_reading.

    python -m benchmarks.quality.people_seeing --pictures FOLDER    # see benchmarks/kit; five minutes of one core

Needs `flenwheel models people`, and for the pictures the packages DracoPy and xlrd. No network was trained on these people; the
limits between the angles were chosen on the rendered head and looked at on the sorted photographs, the limit of belief on the actors.
"""

import argparse
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.kit.people_pictures import PeoplePictures
from benchmarks.kit.photographs import Photographs
from benchmarks.result_file import Row, write_part, write_result
from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.images import ANGLES, EXPRESSIONS, ImageKind, ImageRecord, Labels
from flenwheel_core.documents.prompts import CARD_CELLS
from flenwheel_core.documents.scores import Fingerprint
from flenwheel_core.evaluation.scorecard import Look, score_card
from flenwheel_core.identity.face_verifier import MINIMUM_SCORE, FaceVerifier
from flenwheel_core.identity.face_weights import FACE_MODELS
from flenwheel_core.identity.faces import FaceFinder
from flenwheel_core.identity.head_turn import angle_of
from flenwheel_core.identity.portraits import Portrait, PortraitReader
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.screening import limits_of
from flenwheel_core.images.quality import Measures
from flenwheel_core.recipes.screening import ScreeningRecipe

FINGERPRINT = Fingerprint(
    verifier="face-dlib", verifier_version="1", images=("a" * 64,), embeddings=((0.0, 0.0),), centroid=(0.0, 0.0),
    distance="euclidean", leave_one_out=(0.0,), threshold=0.5, unsure_above=0.6,
)  # fmt: skip
NOBODY = ("coffee", "chelsea", "rocket", "brick", "grass", "gravel", "page", "text", "clock", "coins", "moon", "retina", "colorwheel",
          "hubble_deep_field", "immunohistochemistry")  # fmt: skip
"""Pictures of scikit-image without a person."""
BEFORE_EACH = 4
"""The frontal detector alone is slow, and tried on each fourth picture."""
STEP_DEGREES = 15
LIMIT_DEGREES = 60
"""The head's turn that stands at the limit between half and profile: found, but not counted for either."""
SPEED_PICTURES, ROUNDS = 20, 2


@dataclass(frozen=True)
class Seen:
    """What was seen of a picture of known truth."""

    truth: str
    image: Image.Image
    portrait: Portrait | None


def seen(reader: PortraitReader, pictures: Iterable[tuple[str, Image.Image]]) -> list[Seen]:
    found = []
    for truth, image in pictures:
        portraits = reader.find(np.asarray(image))
        found.append(Seen(truth, image, portraits[0] if portraits else None))
    return found


def recall(case: str, pictures: Sequence[Seen], before: FaceFinder) -> Row:
    """How many of the pictures have a face; and how many for the frontal detector alone."""
    now = wilson(sum(one.portrait is not None for one in pictures), len(pictures))
    tried = pictures[::BEFORE_EACH]
    frontal = sum(bool(before.find(one.image, MINIMUM_SCORE)) for one in tried)
    return {
        "case": case,
        "pictures": len(pictures),
        "recall": now.value,
        "recall_low": now.low,
        "frontal_pictures": len(tried),
        "frontal_recall": frontal / len(tried),
    }


def confusion(group: str, classes: Iterable[str], read: list[tuple[str, str | None]]) -> list[Row]:
    """A row a class: what pictures of it were read as; and one over all of them."""
    names = tuple(classes)
    rows: list[Row] = []
    for truth in names:
        counts = Counter(found for wanted, found in read if wanted == truth)
        total = sum(counts.values())
        if total:
            shares = {f"read_{name.replace('-', '_')}_share": counts[name] / total for name in names}
            rows.append(
                {"case": f"{group}_{truth}", "pictures": total, **shares, "unknown_share": counts[None] / total}
            )
    known = [(wanted, found) for wanted, found in read if found is not None]
    right = wilson(sum(wanted == found for wanted, found in known), len(known))
    whole = {
        "case": group,
        "pictures": len(read),
        "known_share": len(known) / len(read),
        "right_of_known_share": right.value,
        "right_of_known_low": right.low,
        "right_share": sum(wanted == found for wanted, found in read) / len(read),
    }
    return [*rows, whole]


def cells() -> Row:
    """How many of the card's cells can be judged for people: the scorecard of pictures that show what was asked, as it is read."""
    shown = [
        Labels(angle=cell.angle, expression=None if "profile" in (cell.angle or "") else cell.expression)
        for cell in CARD_CELLS
    ]
    cells = score_card(
        [_look(cell.id, labels) for cell, labels in zip(CARD_CELLS, shown, strict=True)],
        FINGERPRINT,
        limits_of(ScreeningRecipe(), FINGERPRINT, strict=False),
        lora=None,
        person=True,
    ).cells
    angles, expressions = ([getattr(cell, name) for cell in cells] for name in ("angle_ok", "expression_ok"))
    return {
        "case": "cells",
        "cells": len(cells),
        "angle_cells": sum(value is not None for value in angles),
        "expression_cells": sum(value is not None for value in expressions),
        "identity_cells": sum(cell.measured for cell in cells),
    }


def _look(cell: str, labels: Labels) -> Look:
    """A good picture of a cell as the face verifier sees it: no identity in a profile, a face of 100 px."""
    record = ImageRecord(
        digest="b" * 64, width=1024, height=1024, kind=ImageKind.SYNTHETIC, seed=1, stage="generate", request="0" * 64, item=cell,
        cell=cell,
    )  # fmt: skip
    measures = Measures(1024, 1024, 500.0, 120.0, 0.0, 0, 0, np.full((32, 32, 3), 120, dtype=np.uint8))
    profile = "profile" in (labels.angle or "")
    vector, problem = (None, "profile_face") if profile else ((0.0, 0.0), None)
    return Look(record, measures, Embedded(vector, problem, subject_size=100, labels_certain=True), labels)


def nobody() -> Iterator[tuple[str, Image.Image]]:
    from skimage import data

    for name in NOBODY:
        yield "nobody", Image.fromarray(np.asarray(getattr(data, name)())).convert("RGB")


def speed(folder: Path) -> Row:
    """Photographs of at most 1600 px found, read and embedded in a second of one core's work; and the memory that rounds add."""
    photographs = Photographs(folder)
    names = [name for names in photographs.people.values() for name in names][:SPEED_PICTURES]
    images = [photographs.open(name) for name in names]
    with tempfile.TemporaryDirectory() as models:
        verifier = FaceVerifier(FACE_MODELS["Dlib"], Path(models))
        verifier.embed(images)
        first, start = _resident_mib(), time.process_time()
        for _ in range(ROUNDS):
            verifier.embed(images)
        seconds = time.process_time() - start
    return {
        "case": "speed",
        "pictures": ROUNDS * len(images),
        "photographs_per_core_second": ROUNDS * len(images) / seconds,
        "memory_added_mib": _resident_mib() - first,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    import cv2

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=Path, help="without it only the cells are counted")
    parser.add_argument("--out", type=Path, help="folder of the result files; the repository's own if unset")
    given = parser.parse_args()
    if given.pictures is None:
        write_part("people_reading", [cells()], **({"folder": given.out} if given.out else {}))
        return
    cv2.setNumThreads(1)
    pictures, reader = PeoplePictures(given.pictures), PortraitReader()
    with tempfile.TemporaryDirectory() as nothing:
        before = FaceFinder(people=Path(nothing))
    detection: list[Row] = [speed(given.pictures)]
    people = seen(reader, ((one.truth, one.image) for one in pictures.turned()))
    for kind in ("profile", "half", "front"):
        detection.append(recall(f"people_{kind}", [one for one in people if one.truth.startswith(kind)], before))
    head = seen(reader, ((str(turn), image) for turn, image in pictures.rendered(STEP_DEGREES)))
    turned = [one for one in head if abs(int(one.truth)) >= LIMIT_DEGREES]
    detection.append(recall("head_profile", turned, before))
    detection.append(recall("head_half_and_front", [one for one in head if one not in turned], before))
    detection.append(recall("nobody", seen(reader, nobody()), before))
    _write("people_detection", detection, given.out)
    angles = [(one.truth, one.portrait.angle if one.portrait else None) for one in people]
    told = [one for one in head if abs(int(one.truth)) != LIMIT_DEGREES]
    sides = [(angle_of(int(one.truth)), one.portrait.angle if one.portrait else None) for one in told]
    actors = seen(reader, ((one.truth, one.image) for one in pictures.actors()))
    faces = [(one.truth, one.portrait.expression if one.portrait else None) for one in actors]
    reading = [*confusion("people", ANGLES, list(angles)), *confusion("head", ANGLES, list(sides))]
    _write("people_reading", [*reading, *confusion("expression", EXPRESSIONS, list(faces)), cells()], given.out)


def _write(name: str, rows: list[Row], folder: Path | None) -> None:
    for row in rows:
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    write_result(name, rows, **({"folder": folder} if folder else {}))


if __name__ == "__main__":
    main()
