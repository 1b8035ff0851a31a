"""Workspaces whose stores keep what stages made in one place: what one of them asked for, the next one finds instead of making it again."""

from pathlib import Path

from flenwheel_core.base.settings import Settings
from flenwheel_core.store import Store

SHARED = ("blobs", "tables", "stages")
"""What a digest names: the same for whoever asks. Characters, turns and decisions stay each workspace's own."""


def share_results(settings: Settings, shared: Path) -> None:
    """For a fresh workspace."""
    store = Store(settings.store_url).files.local
    assert store is not None
    store.mkdir(parents=True)
    for name in SHARED:
        (shared / name).mkdir(parents=True, exist_ok=True)
        (store / name).symlink_to(shared / name)
