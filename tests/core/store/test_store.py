"""Blobs, tables, stage folders and documents, on a disk and on S3."""

import io

import polars as pl
import pytest
from PIL import Image

from flenwheel_core.base.errors import CorruptBlobError, CorruptManifestError, NotFoundError, StoreError
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels, LoraUse, Sampler
from flenwheel_core.documents.prompts import Cell
from flenwheel_core.documents.scores import Screening, ScreenReason
from flenwheel_core.requests.enrich import EnrichRequest, EnrichResult
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture, save_picture

ZERO = "0" * 64


def record(number: int) -> ImageRecord:
    return ImageRecord(
        digest=f"{number:064x}",
        width=128,
        height=96,
        kind=ImageKind.ENRICHED,
        parents=(ZERO,),
        prompt="same person, forest background",
        seed=number,
        sampler=Sampler(steps=8, width=128, height=96),
        model="nano@abc",
        loras=(LoraUse(digest=ZERO, weight=0.5),),
        stage="enrich",
        request=ZERO,
        item=f"edit-{number}",
        turn=1,
        cell="front-smiling",
        labels=Labels(angle="front", expression="smiling"),
    )


def test_blob_comes_back_verified(store: Store) -> None:
    digest = store.put_blob(b"a picture")
    assert store.put_blob(b"a picture") == digest
    assert store.get_blob(digest) == b"a picture"
    assert store.has_blob(digest) and not store.has_blob(ZERO)


def test_damaged_blob_is_refused(store: Store) -> None:
    digest = store.put_blob(b"a picture")
    store.files.write(f"blobs/{digest[:2]}/{digest}", b"a pixture")
    with pytest.raises(CorruptBlobError, match="damaged"):
        store.get_blob(digest)


def test_missing_blob_says_what_to_do(store: Store) -> None:
    with pytest.raises(NotFoundError, match="lineage"):
        store.get_blob(ZERO)


def test_tables_of_earlier_versions_lack_a_column_and_are_read(store: Store) -> None:
    """A set without masks is written as they wrote it, so that they read it too."""
    plain, masked = record(1), record(2).model_copy(update={"mask": ZERO})
    digest, other = store.put_images([plain]), store.put_images([plain, masked])
    columns = [
        pl.read_parquet(io.BytesIO(store.files.read(f"tables/images/{one}.parquet"))).columns for one in (digest, other)
    ]
    assert columns[1] == [*columns[0], "mask"]
    assert store.get_images(digest) == (plain,) and store.get_images(other) == (plain, masked)


def test_tables_keep_every_field_and_the_order(store: Store) -> None:
    rows = [record(2), record(1)]
    digest = store.put_images(rows)
    assert store.get_images(digest) == tuple(rows)
    assert store.put_images(rows[::-1]) != digest
    screening = Screening(
        image=ZERO,
        outcome="unsure",
        reasons=(ScreenReason(code="no_face"), ScreenReason(code="blurred", value=3.5, limit=10)),
        verifier="subject",
        verifier_version="v1",
        distance=0.25,
        beliefs=1,
    )
    assert store.get_screenings(store.put_screenings([screening])) == (screening,)
    assert store.get_images(store.put_images([])) == ()


def test_damaged_table_names_the_file(store: Store) -> None:
    digest = store.put_images([record(1)])
    store.files.write(f"tables/images/{digest}.parquet", b"PAR1 but not really")
    with pytest.raises(CorruptManifestError, match=digest[:8]):
        store.get_images(digest)


def enrich_request(seed: int = 1) -> EnrichRequest:
    character = CharacterRef(name="mira", trigger="ohwx_char", class_word="person", kind="person")
    return EnrichRequest(
        character=character, sources=ZERO, items=(), editor="nano", sampler=Sampler(steps=seed), turn=1
    )


def test_result_is_there_only_after_the_manifest(store: Store) -> None:
    request = enrich_request()
    store.put_request(request)
    assert store.get_result(request, EnrichResult) is None
    result = EnrichResult(images=ZERO, count=3)
    store.put_result(request, result)
    assert store.get_result(request, EnrichResult) == result
    assert store.get_result(enrich_request(seed=2), EnrichResult) is None


def test_damaged_manifest_is_a_clear_error(store: Store) -> None:
    request = enrich_request()
    store.files.write(f"{store.stage_folder(request)}/manifest.json", b'{"images": 3')
    with pytest.raises(CorruptManifestError, match=r"manifest\.json"):
        store.get_result(request, EnrichResult)


def test_documents_are_written_once(store: Store) -> None:
    first, second = Cell(id="first"), Cell(id="second")
    assert store.put_document("cells/one", first)
    assert not store.put_document("cells/one", second)
    assert store.get_document("cells/one", Cell) == first
    assert store.get_document("cells/two", Cell) is None
    assert list(store.list_documents("cells")) == ["cells/one"]


def test_stage_key_depends_on_stage_version_and_request() -> None:
    assert enrich_request(1).key() != enrich_request(2).key()
    assert enrich_request(1).key() == enrich_request(1).key()


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a//b", "a/../../b", "", "a\\b"])
def test_no_path_leaves_the_store(local_store: Store, path: str) -> None:
    with pytest.raises(StoreError):
        local_store.files.read(path)


def test_picture_carries_its_provenance_and_is_deterministic(local_store: Store) -> None:
    image = Image.new("RGB", (16, 8), (200, 10, 30))
    saved = save_picture(local_store, image, record(5))
    assert saved == save_picture(local_store, image, record(5))
    assert (saved.width, saved.height) == (16, 8)
    assert load_picture(local_store, saved.digest).getpixel((0, 0)) == (200, 10, 30)
    data = local_store.get_blob(saved.digest)
    assert b"flenwheel.request" in data and b"same person, forest background" in data


def test_unfinished_writes_are_not_listed(local_store: Store) -> None:
    local_store.put_blob(b"x")
    assert local_store.files.local is not None
    (local_store.files.local / "blobs" / ".tmp-crashed").write_bytes(b"half")
    assert len(list(local_store.files.list("blobs"))) == 1
