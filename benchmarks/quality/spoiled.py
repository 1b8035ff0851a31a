"""How many spoiled pictures screening catches, and what that costs: smeared faces of the nano world, and of photographs.

nano: held-out characters through the stages `ingest` and `screen`; `other_caught_share` is what is caught without the detector.
drawn: pictures that the nano FLUX drew of known characters, which are good. faces: photographs of people who were not trained on,
spoiled in seven ways, one of which (denoised) the detector never learned; the detector alone, on faces whose place is known. It never
removes a picture: what it catches is shown to a person as unsure.

    python -m benchmarks.quality.spoiled --photographs FOLDER                # about five minutes on two quiet cores
    python -m benchmarks.quality.spoiled --only nano --characters 3 --out /tmp/results
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.kit.photographs import Photographs
from benchmarks.kit.spoiled_faces import SPOILS, halves, variants
from benchmarks.quality.nano_models_eyes import REDRAWN_STRENGTH, redrawn
from benchmarks.quality.screening_truth import Candidate, Subject, nano_subjects, screened
from benchmarks.result_file import Row, write_part
from flenwheel_core.base.statistics import wilson
from flenwheel_core.documents.scores import Screening
from flenwheel_core.identity.protocols import Embedded
from flenwheel_core.identity.spoiled import FaceSpoilDetector, NanoSpoilDetector
from flenwheel_core.nano.world import HELD_OUT_FROM, make_character, make_view

FIRST_DRAWN, FIRST_DRAWN_VIEW = HELD_OUT_FROM + 12_000, 10_012_000
VARIANTS, EACH = 8, 4
LIMIT = 0.5
WAX = ("smooth", "denoised")
"""What the head of skin is for; of the others it can only catch more than the rows say that were measured without it."""


def nano(characters: int) -> Iterator[Row]:
    """Right pictures and smeared ones of held-out characters."""
    found: list[tuple[Candidate, Screening]] = []
    for subject in nano_subjects(characters):
        found += screened(only(subject, ("right", "smeared_face")), "subject", "nano", "nano")
    for kind in ("right", "smeared_face"):
        rows = [row for candidate, row in found if candidate.kind == kind]
        others = [row for row in rows if any(one.code not in PASSING for one in row.reasons)]
        yield {
            "case": f"nano_{kind}",
            "pictures": len(rows),
            "removed_share": sum(row.outcome == "fail" for row in rows) / len(rows),
            **caught([row.outcome != "pass" for row in rows]),
            "other_caught_share": len(others) / len(rows),
        }


PASSING = ("identity_ok", "spoiled_face", "misaligned")
"""Reasons that a picture may have without the detector's help and still pass; and the detector's own."""


def only(subject: Subject, kinds: Sequence[str]) -> Subject:
    """The subject with candidates of these kinds."""
    return replace(subject, candidates=[one for one in subject.candidates if one.kind in kinds])


def caught(flags: Sequence[bool]) -> Row:
    """The share that is removed or doubtful, with its interval."""
    rate = wilson(sum(flags), len(flags))
    return {"caught_share": rate.value, "caught_low": rate.low, "caught_high": rate.high}


def drawn(number: int) -> Row:
    """Good pictures as the nano FLUX draws them: the detector must know its blotches."""
    pairs = [(make_character(FIRST_DRAWN + at), make_view(FIRST_DRAWN_VIEW + at)) for at in range(number)]
    images = redrawn(pairs, REDRAWN_STRENGTH, "cpu")
    chances = NanoSpoilDetector(None).chances(images, [Embedded(None)] * number)
    return {"case": "nano_drawn", "pictures": number, **caught([(chance or 0) > LIMIT for chance in chances])}


def faces(photographs: Photographs, kinds: Sequence[str]) -> Iterator[Row]:
    """Photographs of people who were not trained on: good ones, and those spoiled in these ways."""
    detector = FaceSpoilDetector()
    for kind, made in variants(photographs, halves(photographs)[1], VARIANTS, EACH, kinds).items():
        people = [Embedded((0.0,), subject_size=round(box[3] - box[1]), box=box) for _, box in made]
        chances = detector.chances([image for image, _ in made], people)
        judged = [chance > LIMIT for chance in chances if chance is not None]
        yield {"case": f"faces_{kind}", "pictures": len(judged), **caught(judged)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--photographs", type=Path, help="folder of the public photographs; without it no faces")
    parser.add_argument("--characters", type=int, default=20, help="of the nano world")
    parser.add_argument("--drawn", type=int, default=40, help="pictures drawn by the nano FLUX")
    parser.add_argument(
        "--only", choices=("nano", "drawn", "faces", "skin"), help="this part; rows of others stay in the file"
    )
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    rows: list[Row] = []
    if given.only in (None, "nano"):
        rows += nano(given.characters)
    if given.only in (None, "drawn"):
        rows.append(drawn(given.drawn))
    if given.only in (None, "faces", "skin") and given.photographs is not None:
        rows += faces(Photographs(given.photographs), WAX if given.only == "skin" else tuple(SPOILS))
    for row in rows:
        print(row, flush=True)
    write_part("spoiled", rows, **({"folder": given.out} if given.out else {}))


if __name__ == "__main__":
    main()
