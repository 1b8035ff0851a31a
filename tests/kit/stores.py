"""A store in each place that one may be in."""

from pathlib import Path

import pytest

from flenwheel_core.store import Store
from tests.kit.s3_server import BUCKET, options_of


def s3_store_at(endpoint: str, folder: Path) -> Store:
    """A test's own store on the test server."""
    return Store(f"s3://{BUCKET}/{folder.name}", options_of(endpoint))


def store_by_param(request: pytest.FixtureRequest, folder: Path) -> Store:
    """On the local disk for the parameter `file`, else on the test server."""
    if request.param == "file":
        return Store((folder / "store").as_uri())
    return s3_store_at(request.getfixturevalue("s3_endpoint"), folder)
