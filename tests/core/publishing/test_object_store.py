"""Publishing to an object store: a real S3 protocol server on loopback."""

import dataclasses
from pathlib import Path

import httpx
import pytest

from flenwheel_core.base.errors import InputError
from flenwheel_core.publishing.bundle import Bundle
from flenwheel_core.publishing.object_store import expiring_link, publish_to_store, read_publication

OPTIONS = {"key": "test", "secret": "test", "region_name": "us-east-1"}


@pytest.mark.slow
def test_files_lie_under_their_digests_the_record_comes_last_and_links_expire(
    s3_endpoint: str, tmp_path: Path, bundle: Bundle
) -> None:
    place, options, notes = f"s3://flenwheel/{tmp_path.name}", {**OPTIONS, "endpoint_url": s3_endpoint}, []
    assert read_publication(place, "mira-v1", options) is None
    first = publish_to_store(bundle, place, options, note=notes.append)
    assert publish_to_store(bundle, place, options, note=notes.append) == first
    assert notes[1].startswith("0 files sent") and read_publication(place, "mira-v1", options) == bundle.record()
    lora = next(file for file in first.files if file.name == "mira-v1.safetensors")
    assert lora.address == f"{place}/mira-v1/blobs/{lora.digest}/mira-v1.safetensors"
    link = expiring_link(lora.address, options, 60)
    assert link is not None and "Signature" in link
    assert httpx.get(link).content == bundle.files["mira-v1.safetensors"]
    other = dataclasses.replace(bundle, files={**bundle.files, "README.md": b"new"})
    publish_to_store(other, place, options, note=notes.append)
    assert notes[2].startswith("1 files sent") and httpx.get(link).status_code == 200


def test_another_publication_of_that_name_is_not_replaced(tmp_path: Path, bundle: Bundle) -> None:
    publish_to_store(bundle, tmp_path.as_uri(), {}, note=lambda text: None)
    with pytest.raises(InputError, match="holds another publication"):
        publish_to_store(dataclasses.replace(bundle, character="rex"), tmp_path.as_uri(), {}, note=lambda text: None)
    assert read_publication(tmp_path.as_uri(), "mira-v1", {}) == bundle.record()


def test_credentials_that_cannot_sign_give_no_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert expiring_link("s3://bucket/x/a.safetensors", {"region_name": "us-east-1"}, 60) is None


def test_a_place_is_an_address(bundle: Bundle) -> None:
    for place in ("", "bucket", "ftp://host/x", "s3://"):
        with pytest.raises(InputError, match="no address"):
            publish_to_store(bundle, place, {}, note=lambda text: None)


def test_on_a_disk_there_is_no_link(tmp_path: Path, bundle: Bundle) -> None:
    result = publish_to_store(bundle, tmp_path.as_uri(), {}, note=lambda text: None)
    assert expiring_link(result.files[0].address, {}, 60) is None
    assert Path(result.files[0].address.removeprefix("file://")).read_bytes() == bundle.files[result.files[0].name]
