"""The expression of a person, one of the card's four, or None where the face shows another or the network is not sure.

The network is face-api's (MIT), seven expressions, run here with numpy: 82 thousand weights, 10 ms a face. Fear, disgust and
surprise are no expressions of the card: they are unknown. Anger is the weakest: of angry actors a third is read as such, two
fifths are unknown (docs/measurements/people.md). So it is a hint: another expression than was asked for is a question, and removes a
picture only from a limit of belief that was fitted to people's verdicts (`flenwheel screen calibrate`).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flenwheel_core.documents.images import Expression
from flenwheel_core.identity.people_weights import EXPRESSION_LAYOUT, EXPRESSION_WEIGHTS, people_file

Array = NDArray[np.float32]
SIDE_PX = 112
KNOWN_FROM = 0.8
"""An expression with a lower share of the belief is unknown."""
TURNED_FROM = 50.0
"""Degrees of turn from which too little of a face is seen."""
MEAN_COLOUR = (122.782, 117.001, 104.298)
ANSWERS: tuple[Expression | None, ...] = ("neutral", "smiling", "sad", "angry", None, None, None)
"""The network's order; the last three are fearful, disgusted and surprised."""
BLOCKS, LAYERS, POOL = 4, 4, 7


class ExpressionNetwork:
    """Four blocks of separable convolutions, each with all its layers added up, and one linear layer."""

    def __init__(self, folder: Path | None = None) -> None:
        layout = json.loads(people_file(EXPRESSION_LAYOUT, folder).read_text())
        self._weights = _unpacked(layout[0]["weights"], people_file(EXPRESSION_WEIGHTS, folder).read_bytes())

    def shares(self, face: NDArray[np.uint8]) -> Array:
        """(7,): the belief in each of ANSWERS for an RGB face of (112, 112, 3); sums to 1."""
        centred = (face.transpose(2, 0, 1) - np.array(MEAN_COLOUR)[:, None, None]) / 255
        x: Array = centred.astype(np.float32)
        for block in range(BLOCKS):
            x = self._block(x, f"dense{block}")
        pooled = x[:, :POOL, :POOL].mean(axis=(1, 2))
        scores = pooled @ self._weights["fc/weights"] + self._weights["fc/bias"]
        shares = np.exp(scores - scores.max())
        return np.asarray(shares / shares.sum(), dtype=np.float32)

    def expression(self, face: NDArray[np.uint8]) -> tuple[Expression | None, float]:
        """The expression and its share of the belief; None where that is below KNOWN_FROM or no expression of the card."""
        shares = self.shares(face)
        best = int(shares.argmax())
        share = round(float(shares[best]), 3)
        return (ANSWERS[best] if share >= KNOWN_FROM else None), share

    def _block(self, x: Array, name: str) -> Array:
        total = self._layer(x, f"{name}/conv0", stride=2)
        start = np.maximum(total, 0)
        total, last = start, start
        for layer in range(1, LAYERS):
            total = total + self._layer(last, f"{name}/conv{layer}", stride=1)
            last = np.maximum(total, 0)
        return last

    def _layer(self, x: Array, name: str, *, stride: int) -> Array:
        """A convolution of 3 x 3, padded so that a stride of 1 keeps the size; separable but for the very first."""
        full = self._weights.get(f"{name}/filters")
        taps = self._weights[f"{name}/depthwise_filter"] if full is None else full
        size = -(-x.shape[1] // stride)
        pad = max((size - 1) * stride + 3 - x.shape[1], 0)
        padded = np.pad(x, ((0, 0), (pad // 2, pad - pad // 2), (pad // 2, pad - pad // 2)))
        channels = taps.shape[3] if full is not None else x.shape[0]
        out = np.zeros((channels, size, size), dtype=np.float32)
        for row in range(3):
            for column in range(3):
                seen = padded[:, row : row + stride * size : stride, column : column + stride * size : stride]
                tap = taps[row, column]
                out += np.tensordot(tap.T, seen, axes=1) if full is not None else tap[:, :, None] * seen
        if full is None:
            out = np.tensordot(self._weights[f"{name}/pointwise_filter"][0, 0].T, out, axes=1)
        return np.asarray(out + self._weights[f"{name}/bias"][:, None, None], dtype=np.float32)


def _unpacked(entries: list[dict[str, Any]], data: bytes) -> dict[str, Array]:
    """The named weights of a face-api file: whole, or 8 bits each with a scale and a smallest value a tensor."""
    found, start = {}, 0
    for entry in entries:
        count, packing = int(np.prod(entry["shape"])), entry.get("quantization")
        raw = np.frombuffer(data, np.float32 if packing is None else np.uint8, count, start)
        start += raw.nbytes
        values = raw if packing is None else raw.astype(np.float32) * packing["scale"] + packing["min"]
        found[entry["name"]] = values.astype(np.float32).reshape(entry["shape"])
    return found
