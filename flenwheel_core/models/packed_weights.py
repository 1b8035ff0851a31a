"""Weights of the shipped models in fewer bytes than their own files have.

A packed file is a safetensors file itself, of one of two kinds:
* *rows*: every row of a matrix in whole numbers with a scale of its own, so the weights are rounded, and unpacked in float16;
* *halves*: a file of 16-bit numbers with sign and fraction beside the exponents, which compress well; unpacked byte for byte.
"""

import json
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ROWS, HALVES = "rows.safetensors", "halves.safetensors"
_KINDS = {"float16": "F16", "float32": "F32", "int64": "I64"}
_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its table, and the table with its spaces fills whole words of so many bytes."""


def rows_of(packed: Path) -> dict[str, Array]:
    """The tensors of a file of rows, float16, by name."""
    from safetensors import safe_open

    with safe_open(packed, framework="numpy") as file:
        shapes: dict[str, list[int]] = json.loads(file.metadata()["shapes"])
        values, scales, exact = (file.get_tensor(name) for name in ("values", "scales", "exact"))
    levels = np.frombuffer(lzma.decompress(values.tobytes()), np.int8)
    found: dict[str, Array] = {}
    at = {"levels": 0, "scales": 0, "exact": 0}
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        if len(shape) < 2:
            found[name] = exact[at["exact"] : at["exact"] + size].reshape(shape)
            at["exact"] += size
            continue
        rows = levels[at["levels"] : at["levels"] + size].reshape(shape[0], -1).astype(np.float32)
        scale = scales[at["scales"] : at["scales"] + shape[0]].astype(np.float32)
        found[name] = (rows * scale[:, None]).astype(np.float16).reshape(shape)
        at["levels"] += size
        at["scales"] += shape[0]
    return found


def pack_rows(tensors: Mapping[str, Array], packed: Path, *, most: int) -> None:
    """Writes a file of rows in whole numbers from -`most` to `most`, at most 127.

    A row's scale is the one with the least squared error: the largest weights may be cut off a little.
    """
    from safetensors.numpy import save_file

    levels, scales, exact = [], [], [np.zeros(0, np.float16)]
    for tensor in tensors.values():
        if tensor.ndim < 2:
            exact.append(tensor.astype(np.float16).ravel())
            continue
        rows = tensor.reshape(len(tensor), -1).astype(np.float32)
        scale = _scales(rows, most)
        levels.append(_rounded(rows, scale, most).astype(np.int8).ravel())
        scales.append(scale.astype(np.float16))
    values = lzma.compress(np.concatenate(levels).tobytes(), preset=6)
    content: dict[str, Array] = {
        "values": np.frombuffer(values, np.uint8),
        "scales": np.concatenate(scales),
        "exact": np.concatenate(exact),
    }
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    save_file(content, packed, metadata={"shapes": json.dumps(shapes)})


def _scales(rows: Array, most: int) -> Array:
    """One for each row, in steps that float16 has."""
    largest = np.maximum(np.abs(rows).max(axis=1), 1e-6)
    best, least = np.zeros(0), np.zeros(0)
    for share in np.linspace(1.0, 0.6, 13):
        scale = (largest * share / most).astype(np.float16).astype(np.float32)
        scale = np.maximum(scale, np.float32(6e-8))
        error = ((_rounded(rows, scale, most) * scale[:, None] - rows) ** 2).sum(axis=1)
        if not len(best):
            best, least = scale, error
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def _rounded(rows: Array, scale: Array, most: int) -> Array:
    return np.clip(np.round(rows / scale[:, None]), -most, most)


def halves_of(packed: Path) -> bytes:
    """The bytes of the file that was packed."""
    from safetensors.numpy import load_file

    content = load_file(packed)
    exponents = np.frombuffer(lzma.decompress(content["exponents"].tobytes()), np.uint8).astype(np.uint16)
    turned = exponents << 8 | content["rest"]
    words = (turned >> 1 | turned << 15).astype("<u2")
    return bytes(content["table"].tobytes()) + words.tobytes()


def pack_halves(file: bytes, packed: Path) -> None:
    """Packs a safetensors file of bfloat16 numbers; of others it is right as well, and saves nothing."""
    from safetensors.numpy import save_file

    start = _LENGTH_BYTES + int.from_bytes(file[:_LENGTH_BYTES], "little")
    words = np.frombuffer(file[start:], "<u2")
    turned = (words << 1 | words >> 15).astype(np.uint16)
    exponents = lzma.compress((turned >> 8).astype(np.uint8).tobytes(), preset=6)
    content = {
        "table": np.frombuffer(file[:start], np.uint8),
        "exponents": np.frombuffer(exponents, np.uint8),
        "rest": (turned & 255).astype(np.uint8),
    }
    save_file(content, packed)


def safetensors_bytes(tensors: Mapping[str, Array]) -> bytes:
    """A safetensors file that has the same bytes whichever version of the library is here: pinned references name them."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    parts, at = [], 0
    for name in sorted(tensors):
        part = np.ascontiguousarray(tensors[name]).tobytes()
        table[name] = {
            "dtype": _KINDS[str(tensors[name].dtype)],
            "shape": list(tensors[name].shape),
            "data_offsets": [at, at + len(part)],
        }
        parts.append(part)
        at += len(part)
    head = json.dumps(table, separators=(",", ":")).encode()
    head += b" " * (-len(head) % _LENGTH_BYTES)
    return b"".join([len(head).to_bytes(_LENGTH_BYTES, "little"), head, *parts])
