"""Which digests refer to which: what lineage, reproduction and gc walk along."""

import json
import re
from collections.abc import Iterator

from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.store import Store

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def digests_in(data: bytes) -> set[str]:
    """Every sha256 written out in some text."""
    return {match.decode() for match in _DIGEST.findall(data)}


def table_digests(store: Store, digest: str) -> set[str] | None:
    """The digests named in the rows of an image set or screening table; None if there is no such table."""
    if store.files.exists(f"tables/images/{digest}.parquet"):
        rows = [row.model_dump(mode="json") for row in store.get_images(digest)]
    elif store.files.exists(f"tables/screenings/{digest}.parquet"):
        rows = [row.model_dump(mode="json") for row in store.get_screenings(digest)]
    else:
        return None
    return digests_in(json.dumps(rows).encode())


def reachable(store: Store, roots: set[str], *, into_blobs: bool = True) -> set[str]:
    """Everything that can be reached from some digests through tables and JSON blobs."""
    seen: set[str] = set()
    todo = set(roots)
    while todo:
        digest = todo.pop()
        if digest in seen:
            continue
        seen.add(digest)
        named = table_digests(store, digest)
        if named is None and into_blobs:
            named = _json_digests(store, digest)
        todo |= (named or set()) - seen
    return seen


def _json_digests(store: Store, digest: str) -> set[str]:
    try:
        if store.files.size(f"blobs/{digest[:2]}/{digest}") > 64 * 2**20:
            return set()
        data = store.get_blob(digest)
    except (FileNotFoundError, NotFoundError):
        return set()
    return digests_in(data) if data[:1] in (b"{", b"[") else set()


def documents(store: Store) -> Iterator[tuple[str, bytes]]:
    """Every document, journal and stage file of a store: path and bytes. These are the roots of what is kept."""
    for folder in ("documents", "journals", "stages"):
        for path in store.files.list(folder):
            yield path, store.files.read(path)
