"""Stores to test with: a local one and one on a real S3-protocol server."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flenwheel_core.store import Store


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A moto server: it speaks the S3 protocol over HTTP on loopback."""
    import boto3
    from moto.server import ThreadedMotoServer

    port = _free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    )
    client.create_bucket(Bucket="flenwheel")
    yield endpoint
    server.stop()


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store on the local disk, and the same on S3."""
    if request.param == "file":
        return Store((tmp_path / "store").as_uri())
    endpoint = request.getfixturevalue("s3_endpoint")
    options = {"endpoint_url": endpoint, "key": "test", "secret": "test", "region_name": "us-east-1"}
    return Store(f"s3://flenwheel/{tmp_path.name}", options)
