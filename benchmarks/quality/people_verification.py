"""Who is accepted and who gets through: the face verifier on public photographs, with the limits of before and with the cohort's.

Pairs: the 300 pairs of photographs that DeepFace is tested with. Characters: one half of a person's photographs is the fingerprint, the
other half is held out, everybody else is a stranger. The cohort that limits a character is always made of other people than those judged:
the people are dealt into two halves, and each half is judged with the other's. `--write` makes the shipped cohort, of all of them.

    python -m benchmarks.quality.people_verification --pictures FOLDER    # see benchmarks/kit; five minutes of one core
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.kit.people_pictures import PeoplePictures
from benchmarks.kit.photographs import DATASET, Photographs
from benchmarks.result_file import Row, write_result
from flenwheel_core.base.statistics import wilson
from flenwheel_core.identity.cohort import FILE
from flenwheel_core.identity.embedding_math import Vectors, distances_to
from flenwheel_core.identity.face_verifier import FaceVerifier
from flenwheel_core.identity.face_weights import FACE_MODELS
from flenwheel_core.identity.fingerprint import ThresholdRule, make_fingerprint
from flenwheel_core.identity.protocols import Embedded

GROUPS = 4
LEAST_PEOPLE = 8
"""A centre is kept if this many people are in it: no number of the shipped file is one person's."""
LEAST_PHOTOGRAPHS = 4
SAME_PERSON_BELOW = 0.45
"""Faces of crowds nearer than this may be of one person twice, and count once."""
LEAST_FACE_PX = 64
STARTS, ROUNDS = 20, 50


@dataclass(frozen=True)
class Face:
    """An embedded face."""

    person: str
    group: str
    vector: Vectors


def faces(verifier: FaceVerifier, photographs: Photographs, pictures: PeoplePictures) -> Iterator[Face]:
    """Of public people, of actors, and of crowds, in which everybody counts as somebody else."""
    for person, names in photographs.people.items():
        for found in verifier.embed([photographs.open(name) for name in names]):
            if found.embedding is not None:
                yield Face(person, "public", np.asarray(found.embedding))
    for person, image in pictures.portraits_of_actors():
        (found,) = verifier.embed([image])
        if found.embedding is not None:
            yield Face(f"actor {person}", "actors", np.asarray(found.embedding))
    for name, image in pictures.crowds():
        (found,) = verifier.embed([image])
        for index, one in enumerate((found, *found.others)):
            if one.embedding is not None and (one.subject_size or 0) >= LEAST_FACE_PX:
                yield Face(f"{name} {index}", "crowd", np.asarray(one.embedding))


def without_repeats(found: Sequence[Face]) -> list[Face]:
    kept: list[Face] = []
    for face in found:
        near = (one for one in kept if one.group == "crowd" and face.group == "crowd")
        if not any(float(np.linalg.norm(one.vector - face.vector)) < SAME_PERSON_BELOW for one in near):
            kept.append(face)
    return kept


def cohort_of(found: Sequence[Face], people: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """The centres of GROUPS groups of these people (k-means over one mean a person, the best of several starts)."""
    means = np.stack([np.mean([face.vector for face in found if face.person == person], axis=0) for person in people])
    random = np.random.default_rng(0)
    best: tuple[float, Vectors, Vectors] | None = None
    for _ in range(STARTS):
        centres = means[random.choice(len(means), GROUPS, replace=False)]
        for _ in range(ROUNDS):
            nearest = np.linalg.norm(means[:, None] - centres[None], axis=-1).argmin(axis=1)
            centres = np.stack(
                [means[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k] for k in range(GROUPS)]
            )
        spread = float(((means - centres[nearest]) ** 2).sum())
        if best is None or spread < best[0]:
            best = (spread, centres, nearest)
    assert best is not None
    kept = [best[1][k] for k in range(GROUPS) if (best[2] == k).sum() >= LEAST_PEOPLE]
    return tuple(tuple(np.round(centre, 3).tolist()) for centre in kept)


def characters(found: Sequence[Face], rule: ThresholdRule) -> list[Row]:
    """Held-out photographs accepted and kept, strangers accepted and kept; by group, before and with the cohort."""
    people = sorted({face.person for face in found})
    random = np.random.default_rng(1)
    halves = dict(zip(people, (random.permutation(len(people)) % 2).tolist(), strict=True))
    cohorts = {half: cohort_of(found, [person for person in people if halves[person] != half]) for half in (0, 1)}
    rows: list[Row] = []
    for group in ("public", "actors"):
        for name, limited in (("before", False), ("cohort", True)):
            own: list[tuple[float, float, float]] = []
            others: list[tuple[float, float, float]] = []
            limits = []
            for person in people:
                mine = [face for face in found if face.person == person]
                if mine[0].group != group or len(mine) < LEAST_PHOTOGRAPHS:
                    continue
                known, held = mine[: len(mine) // 2 + 1], mine[len(mine) // 2 + 1 :]
                used = replace(rule, cohort=cohorts[halves[person]] if limited else ())
                names = [f"{index:064x}" for index in range(len(known))]
                print_ = make_fingerprint(
                    names, [face.vector.tolist() for face in known], used, verifier="f", verifier_version="1"
                )
                limits.append(print_.threshold)
                centre = np.asarray(print_.centroid)
                for faces_, kept in ((held, own), ([face for face in found if face.person != person], others)):
                    away = distances_to(np.stack([face.vector for face in faces_]), centre, rule.distance)
                    kept += [(float(value), print_.threshold, print_.unsure_above) for value in away]
            rows.append(_rates(f"{group}_{name}", own, others, limits))
    return rows


def _rates(
    case: str, own: list[tuple[float, float, float]], others: list[tuple[float, float, float]], limits: list[float]
) -> Row:
    accepted = wilson(sum(value <= limit for value, limit, _ in own), len(own))
    wrong = wilson(sum(value <= limit for value, limit, _ in others), len(others))
    return {
        "case": case,
        "characters": len(limits),
        "mean_limit": float(np.mean(limits)),
        "held_out": len(own),
        "accepted_share": accepted.value,
        "removed_share": sum(value > unsure for value, _, unsure in own) / len(own),
        "strangers": len(others),
        "strangers_accepted_share": wrong.value,
        "strangers_accepted_high": wrong.high,
        "strangers_removed_share": sum(value > unsure for value, _, unsure in others) / len(others),
    }


def pairs(verifier: FaceVerifier, photographs: Photographs, folder: Path) -> Row:
    """DeepFace's own pairs at the shipped cap."""
    with (folder / DATASET / "master.csv").open(newline="") as file:
        given = list(csv.DictReader(file))
    names = sorted({row[key] for row in given for key in ("file_x", "file_y")})
    found = {name: verifier.embed([photographs.open(f"{DATASET}/{name}")])[0] for name in names}
    same, other = [], []
    for row in given:
        away = _apart(found[row["file_x"]], found[row["file_y"]])
        (same if row["Decision"] == "Yes" else other).append(away)
    cap = verifier.threshold_rule.cap
    accepted = wilson(sum(value <= cap for value in same), len(same))
    return {
        "case": "pairs",
        "same_pairs": len(same),
        "accepted_share": accepted.value,
        "accepted_low": accepted.low,
        "other_pairs": len(other),
        "others_accepted": sum(value <= cap for value in other),
        "nearest_other": min(other),
    }


def _apart(one: Embedded, other: Embedded) -> float:
    if one.embedding is None or other.embedding is None:
        return float("inf")
    return float(np.linalg.norm(np.asarray(one.embedding) - np.asarray(other.embedding)))


def profiles(verifier: FaceVerifier, pictures: PeoplePictures, each: int = 4) -> Row:
    """What the verifier says of profiles: for a person to judge, never an identity."""
    shown = [one.image for one in pictures.turned() if one.truth.startswith("profile")][::each]
    found = [verifier.embed([image])[0] for image in shown]
    return {
        "case": "profiles",
        "pictures": len(found),
        "unsure_share": sum(one.problem == "profile_face" for one in found) / len(found),
        "embedded_share": sum(one.embedding is not None for one in found) / len(found),
        "no_face_share": sum(one.problem == "no_face" for one in found) / len(found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="write the shipped cohort anew")
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    pictures, photographs = PeoplePictures(given.pictures), Photographs(given.pictures)
    with tempfile.TemporaryDirectory() as models:
        verifier = FaceVerifier(FACE_MODELS["Dlib"], Path(models))
        found = without_repeats(list(faces(verifier, photographs, pictures)))
        if given.write:
            people = sorted({face.person for face in found})
            lines = [",".join(f"{value:.3f}" for value in centre) for centre in cohort_of(found, people)]
            FILE.write_text("\n".join(lines) + "\n")
        rule = replace(verifier.threshold_rule, cohort=())
        rows = [pairs(verifier, photographs, given.pictures), *characters(found, rule), profiles(verifier, pictures)]
    counts = {
        group: len({face.person for face in found if face.group == group}) for group in ("public", "actors", "crowd")
    }
    rows.append({"case": "people", **{f"{group}_people": count for group, count in counts.items()}})
    for row in rows:
        print({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    write_result("people_verification", rows, **({"folder": given.out} if given.out else {}))


if __name__ == "__main__":
    main()
