"""Trains the heads that tell spoiled faces (flenwheel_core/identity/heads). What they miss is measured by benchmarks.quality.spoiled.

nano: renders of characters that the nano models know, each beside itself smeared. faces: photographs of half of the public people
(benchmarks/kit/photographs.py), with honest variants and five ways of spoiling; the other half is for measuring. skin: the same people,
with honest variants and one way of making wax of their skin.

    python -m benchmarks.lab.spoiled_heads nano
    python -m benchmarks.lab.spoiled_heads faces --photographs FOLDER
    python -m benchmarks.lab.spoiled_heads skin --photographs FOLDER
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.kit.photographs import Photographs
from benchmarks.kit.spoiled_faces import halves, variants
from flenwheel_core.engine.tensor_file import tensor_bytes
from flenwheel_core.identity.spoiled import HEADS, FaceSpoilDetector, NanoSpoilDetector, texture
from flenwheel_core.nano.world import make_character, make_view, render, spoil

Features = NDArray[np.float64]
FIRST, FIRST_VIEW = 20_000, 7_020_000
GOOD_LOST = {"nano": 0.015, "faces": 0.005, "skin": 0.03}
"""The share of good training pictures that may lie above 0.5. Photographs of strangers vary more than those of few people can teach."""
FOLDS = 4
VARIANTS, EACH = 16, 4
PULLED = ("waves", "swirl", "flow", "melted", "doubled")
"""Wax has the gradients of a good face: learned with these it costs many good ones."""


def fit(good: Features, spoiled: Features, penalty: float, good_lost: float, centre: float | Features = 0.0) -> bytes:
    """A logistic head as a file. Its bias is moved so that `good_lost` of the good rows lie above 0.5, each judged by a head that learned
    from the other three quarters: rows are ordered, so that it did not see their people. Features that do not lie around 0 need their
    `centre`, or the quarters' heads differ by what is common to all rows."""
    good, spoiled = good - centre, spoiled - centre
    kept = []
    for fold in range(FOLDS):
        weights = _weights(_others(good, fold), _others(spoiled, fold), penalty)
        kept.append(good[_fold(len(good), fold)] @ weights)
    weights = _weights(good, spoiled, penalty)
    bias = -float(np.quantile(np.concatenate(kept), 1 - good_lost) + np.sum(centre * weights))
    return tensor_bytes({"weights": torch.from_numpy(weights).float(), "bias": torch.tensor([bias])})


def _fold(rows: int, fold: int) -> slice:
    return slice(rows * fold // FOLDS, rows * (fold + 1) // FOLDS)


def _others(rows: Features, fold: int) -> Features:
    return np.delete(rows, _fold(len(rows), fold), axis=0)


def _weights(good: Features, spoiled: Features, penalty: float) -> Features:
    """Of a logistic regression on standardised features, for the features as they are."""
    rows = np.concatenate([good, spoiled])
    mean, spread = rows.mean(0), rows.std(0) + 1e-6
    features = torch.from_numpy((rows - mean) / spread)
    wanted = torch.cat([torch.zeros(len(good)), torch.ones(len(spoiled))]).double()
    weights, bias = (torch.zeros(size, dtype=torch.float64, requires_grad=True) for size in (rows.shape[1], 1))
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = torch.nn.functional.binary_cross_entropy_with_logits(features @ weights + bias, wanted)
        total = error + penalty * (weights**2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return np.asarray(weights.detach().numpy() / spread)


def nano(pictures: int) -> bytes:
    """The head of the nano world."""
    detector = NanoSpoilDetector(1, head=None)
    pairs = [(make_character(FIRST + at), make_view(FIRST_VIEW + at)) for at in range(pictures)]
    renders = [render(*pair) for pair in pairs]
    smeared = [spoil("smeared_face", *pair, FIRST + at).image for at, pair in enumerate(pairs)]
    return fit(_features(detector, renders), _features(detector, smeared), 2e-3, GOOD_LOST["nano"])


def _features(detector: NanoSpoilDetector, images: Sequence[Image.Image]) -> Features:
    found = []
    for start in range(0, len(images), 50):
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images[start : start + 50]]))
        found.append(detector.features(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1))
    return np.concatenate(found)


def faces(photographs: Photographs) -> bytes:
    """The head of photographs."""
    detector = FaceSpoilDetector(heads=None)
    train, _ = halves(photographs)
    rows = {
        kind: np.stack([detector.features(image, box) for image, box in made])
        for kind, made in variants(photographs, train, VARIANTS, EACH, PULLED).items()
    }
    good = rows.pop("good")
    # Photograph by photograph, in the order of the good ones.
    in_turn = np.stack(list(rows.values()), axis=1)
    return fit(good, in_turn.reshape(-1, in_turn.shape[-1]), 1e-2, GOOD_LOST["faces"])


def skin(photographs: Photographs) -> bytes:
    """The head of skin."""
    made = variants(photographs, halves(photographs)[0], VARIANTS // 2, EACH, ("smooth",))
    good, smooth = (
        np.stack([seen for one in made[kind] if (seen := texture(*one)) is not None]) for kind in ("good", "smooth")
    )
    return fit(good, smooth, 1e-3, GOOD_LOST["skin"], np.concatenate([good, smooth]).mean(axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("head", choices=("nano", "faces", "skin"))
    parser.add_argument("--photographs", type=Path, help="folder of the public photographs, for faces and skin")
    parser.add_argument("--pictures", type=int, default=1500, help="renders of the nano world")
    given = parser.parse_args()
    of_people = {"faces": faces, "skin": skin}
    train = of_people.get(given.head)
    made = nano(given.pictures) if train is None else train(Photographs(given.photographs))
    HEADS.mkdir(exist_ok=True)
    (HEADS / f"{given.head}.safetensors").write_bytes(made)
    print(f"{given.head}: {len(made)} bytes")


if __name__ == "__main__":
    main()
