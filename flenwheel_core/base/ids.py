"""Digests, canonical JSON and derived seeds: how everything here gets its name."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import StringConstraints

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A sha256 in lowercase hexadecimal."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""A name that is safe in a path, a URL and a Prefect input key."""

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]

SHORT_LENGTH = 12


def canonical_json(value: Json) -> bytes:
    """The one byte string for a JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest_bytes(data: bytes) -> str:
    """The sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Json) -> str:
    """The sha256 of a value's canonical JSON."""
    return digest_bytes(canonical_json(value))


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on `(seed, *parts)` only: order, resume and parallelism cannot change it."""
    data = canonical_json([seed, *parts])
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 1


def short(digest: str) -> str:
    """The first characters of a digest, for people."""
    return digest[:SHORT_LENGTH]


def slugify(text: str) -> str:
    """Lowercase letters, digits and dashes, at most 63 characters."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
