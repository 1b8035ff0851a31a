"""Stores to test with: a local one and one on a real S3-protocol server."""

from pathlib import Path

import pytest

from flenwheel_core.store import Store
from tests.kit.stores import store_by_param


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store on the local disk, and the same on S3."""
    return store_by_param(request, tmp_path)
