"""Content-addressed blobs, Parquet manifests and append-only journals, through fsspec."""

from flenwheel_core.store.journal import Journal
from flenwheel_core.store.store import Store

__all__ = ["Journal", "Store"]
