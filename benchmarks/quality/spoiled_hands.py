"""Can spoiled hands be told by what MediaPipe's landmarker sees of them? A linear head that was tried, and does not ship.

Learned from half of the photographs and renderings of people, half of the students and the rooms of benchmarks/kit, in all ways of
spoiling but two (swirl, merged). Its limit is that at which 5 % of the good hands of people are lost, each judged by a head that did not
see its picture. Measured with the other halves: wild are hands as people bring them, students hands held up before a wall. Good ones are
honest variants: mirrored, turned, toned, smaller, softer, compressed. A hand that is taken for none after it was spoiled counts as missed.

    python -m benchmarks.quality.spoiled_hands --landmarker FILE --photographs FOLDER --pictures FOLDER    # three minutes of one core
"""

import argparse
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.kit.hand_finder import LEAST_PRESENCE, HandFinder
from benchmarks.kit.people_pictures import PeoplePictures
from benchmarks.kit.photographs import Photographs
from benchmarks.kit.spoiled_hands import HAND_SPOILS, HELD_OUT, in_the_wild, of_students, variants
from benchmarks.result_file import Row, write_result
from flenwheel_core.base.statistics import wilson

LEARNED = tuple(kind for kind in HAND_SPOILS if kind not in HELD_OUT)
GOOD_LOST = 0.05
FOLDS, PENALTY = 8, 300.0
Features = NDArray[np.float64]
Seen = list[tuple[str, str, Features, float]]
"""Of each hand its picture, `good` or how it was spoiled, what the landmarker saw, and how sure it is of a hand."""


def seen(finder: HandFinder, images: Iterable[tuple[str, Image.Image]], good: int, kinds: tuple[str, ...]) -> Seen:
    found = []
    for name, kind, pixels, square in variants(finder, images, good, kinds):
        hand = finder.read(pixels, square)
        found.append((name, kind, hand.seen, hand.presence))
    return found


def fitted(features: Features, good: NDArray[np.bool_]) -> tuple[Features, Features]:
    """Ridge regression of spoiled against good, both of the same weight: the weights, and the middle between both.

    Without that middle a limit does not hold for other hands: heads that saw other rows lie elsewhere."""
    weight = np.where(good, 1 / good.sum(), 1 / (~good).sum()) * len(good) / 2
    middle = np.asarray((features * weight[:, None]).sum(axis=0) / weight.sum())
    centred = features - middle
    weighed = centred * weight[:, None]
    ridge = weighed.T @ centred + PENALTY * np.eye(features.shape[1])
    return np.asarray(np.linalg.solve(ridge, weighed.T @ np.where(good, -1.0, 1.0))), middle


class TriedHead:
    """Learned from rows of people and of hands held up."""

    def __init__(self, wild: Seen, others: Seen) -> None:
        rows = [*wild, *others]
        raw = np.stack([one for _, _, one, _ in rows])
        self._mean, self._spread = raw.mean(axis=0), raw.std(axis=0) + 1e-6
        features = (raw - self._mean) / self._spread
        good = np.asarray([kind == "good" for _, kind, _, _ in rows])
        fold = np.asarray([zlib.crc32(name.encode()) % FOLDS for name, *_ in rows])
        people = np.arange(len(rows)) < len(wild)
        kept = []
        for part in range(FOLDS):
            weights, middle = fitted(features[fold != part], good[fold != part])
            kept.append((features[(fold == part) & good & people] - middle) @ weights)
        self._limit = float(np.quantile(np.concatenate(kept), 1 - GOOD_LOST))
        self._weights, self._middle = fitted(features, good)

    def asks(self, one: Features) -> bool:
        return bool(((one - self._mean) / self._spread - self._middle) @ self._weights > self._limit)


def rows(case: str, head: TriedHead, hands: Seen) -> list[Row]:
    """A row a kind, and one of all spoiled ones."""
    flags = dict[str, list[bool]]()
    for _, kind, one, presence in hands:
        asked = presence >= LEAST_PRESENCE and head.asks(one)
        for group in (kind,) if kind == "good" else (kind, "spoiled"):
            flags.setdefault(group, []).append(asked)
    found: list[Row] = []
    for kind, asked in flags.items():
        rate = wilson(sum(asked), len(asked))
        share = {"caught_share": rate.value, "caught_low": rate.low, "caught_high": rate.high}
        found.append({"case": f"{case}_{kind}", "pictures": len(asked), **share})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--landmarker", type=Path, required=True, help="hand_landmarker.task, see benchmarks/kit/hand_finder.py"
    )
    parser.add_argument("--photographs", type=Path, required=True, help="folder of the public photographs")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of the public pictures of people")
    parser.add_argument("--out", type=Path, help="folder of the result file; the repository's own if unset")
    given = parser.parse_args()
    photographs, pictures, finder = (
        Photographs(given.photographs),
        PeoplePictures(given.pictures),
        HandFinder(given.landmarker),
    )
    wild = seen(finder, in_the_wild(photographs, pictures, 0), 3, LEARNED)
    print(f"{len(wild)} hands of people to learn from", flush=True)
    held_up = [
        *seen(finder, list(pictures.rooms())[::2], 2, LEARNED),
        *seen(finder, of_students(pictures, 0), 1, LEARNED),
    ]
    print(f"{len(held_up)} held up", flush=True)
    head = TriedHead(wild, held_up)
    found = rows("wild", head, seen(finder, in_the_wild(photographs, pictures, 1), 3, tuple(HAND_SPOILS)))
    found += rows("students", head, seen(finder, of_students(pictures, 1), 1, tuple(HAND_SPOILS)))
    for row in found:
        print(row, flush=True)
    write_result("spoiled_hands", found, **({"folder": given.out} if given.out else {}))


if __name__ == "__main__":
    main()
