"""The store: content-addressed blobs, Parquet tables, stage manifests and journals under one URL.

blobs/ab/abcdef...            bytes named by their sha256
tables/KIND/DIGEST.parquet    image sets and screening tables, named by the digest of their rows
stages/STAGE/DIGEST/...       request.json, items (a journal), manifest.json (the result; written last)
documents/NAME.json           written once
journals: NAME.jsonl, or NAME/000000001.json on an object store
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from flenwheel_core.base.document import Document
from flenwheel_core.base.errors import CorruptBlobError, NotFoundError
from flenwheel_core.base.ids import digest_bytes, short
from flenwheel_core.documents.images import ImageRecord
from flenwheel_core.documents.scores import Screening
from flenwheel_core.requests.base import StageRequest, StageResult
from flenwheel_core.store.files import Files
from flenwheel_core.store.journal import Journal

if (
    TYPE_CHECKING
):  # imported where tables are read or written: polars starts threads, and a process that has some must not be forked
    import polars as pl

Kind = TypeVar("Kind", bound=Document)
Asked = TypeVar("Asked", bound=StageRequest)
Result = TypeVar("Result", bound=StageResult)


class Store:
    """Everything a workspace keeps. Opening one costs nothing; nothing is created before the first write."""

    def __init__(self, url: str, options: dict[str, str] | None = None) -> None:
        self.files = Files(url, options)

    # blobs

    def put_blob(self, data: bytes) -> str:
        """Keeps the bytes and returns their sha256. Bytes that are already there are not written again."""
        digest = digest_bytes(data)
        self.files.create(_blob_path(digest), data)
        return digest

    def get_blob(self, digest: str) -> bytes:
        """The bytes of a digest, verified; raises NotFoundError or CorruptBlobError."""
        try:
            data = self.files.read(_blob_path(digest))
        except FileNotFoundError as error:
            raise NotFoundError(
                f"There is no file {short(digest)} in {self.files.url}.",
                why="it was removed, or it belongs to another workspace.",
                remedy="Run the stage that made it again: `flenwheel lineage` names it.",
            ) from error
        if digest_bytes(data) != digest:
            raise CorruptBlobError(
                f"The file {short(digest)} in {self.files.url} is damaged.",
                why="its bytes no longer match its digest; the disk or a copy failed.",
                remedy=f"Restore {_blob_path(digest)} from a backup, or delete it and run the stage that made it again.",
            )
        return data

    def has_blob(self, digest: str) -> bool:
        return self.files.exists(_blob_path(digest))

    def delete_blob(self, digest: str) -> None:
        """Removes a blob that nothing refers to any more; none there is fine."""
        self.files.delete(_blob_path(digest))

    def blob_size(self, digest: str) -> int:
        """Bytes of a blob; raises FileNotFoundError."""
        return self.files.size(_blob_path(digest))

    def blob_address(self, digest: str) -> str:
        """The blob as programs name it, such as s3://bucket/prefix/blobs/..."""
        return self.files.address(_blob_path(digest))

    # tables

    def put_images(self, records: "tuple[ImageRecord, ...] | list[ImageRecord]") -> str:
        """Keeps an image set and returns the digest of its rows."""
        return self._put_table(records, ImageRecord, "images")

    def get_images(self, digest: str) -> tuple[ImageRecord, ...]:
        """The rows of an image set, in their order."""
        return self._get_table(digest, ImageRecord, "images")

    def image_frame(self) -> "pl.DataFrame":
        """The rows of all image sets as one table to query, each picture once, as its first set lists it."""
        import polars as pl

        from flenwheel_core.store.tables import frame_of, frame_of_rows

        frames = [frame_of_rows((), ImageRecord)]
        for path in self.files.list("tables/images"):
            frames.append(frame_of(self.files.read(path), ImageRecord, where=f"{self.files.url}/{path}"))
        return pl.concat(frames).unique("digest", keep="first", maintain_order=True)

    def put_screenings(self, rows: "tuple[Screening, ...] | list[Screening]") -> str:
        """Keeps a screening table and returns the digest of its rows."""
        return self._put_table(rows, Screening, "screenings")

    def get_screenings(self, digest: str) -> tuple[Screening, ...]:
        """The rows of a screening table, in their order."""
        return self._get_table(digest, Screening, "screenings")

    def _put_table(self, rows: "tuple[Kind, ...] | list[Kind]", kind: type[Kind], folder: str) -> str:
        from flenwheel_core.store.tables import table_digest, to_parquet

        digest = table_digest(rows)
        self.files.create(f"tables/{folder}/{digest}.parquet", to_parquet(rows, kind))
        return digest

    def _get_table(self, digest: str, kind: type[Kind], folder: str) -> tuple[Kind, ...]:
        from flenwheel_core.store.tables import from_parquet

        path = f"tables/{folder}/{digest}.parquet"
        try:
            data = self.files.read(path)
        except FileNotFoundError as error:
            raise NotFoundError(f"There is no table {short(digest)} in {self.files.url}.") from error
        return from_parquet(data, kind, where=f"{self.files.url}/{path}")

    # stages

    def stage_folder(self, request: StageRequest) -> str:
        return f"stages/{request.stage}/{request.key()}"

    def get_result(self, request: StageRequest, kind: type[Result]) -> Result | None:
        """The result of a finished stage, or None. The manifest is written last, so it means that all of it is there."""
        path = f"{self.stage_folder(request)}/manifest.json"
        try:
            data = self.files.read(path)
        except FileNotFoundError:
            return None
        return kind.from_bytes(data, where=f"{self.files.url}/{path}")

    def put_request(self, request: StageRequest) -> None:
        self.files.create(f"{self.stage_folder(request)}/request.json", request.to_bytes())

    def get_request(self, kind: type[Asked], key: str) -> Asked | None:
        """The request of that key, if it was ever run here."""
        path = f"stages/{kind.stage}/{key}/request.json"
        try:
            data = self.files.read(path)
        except FileNotFoundError:
            return None
        return kind.from_bytes(data, where=f"{self.files.url}/{path}")

    def put_result(self, request: StageRequest, result: StageResult) -> None:
        """Marks a stage as done. Call it last. Where two machines made the same, the first result stands: others refer to it by then."""
        self.files.create(f"{self.stage_folder(request)}/manifest.json", result.to_bytes())

    def stage_items(self, request: StageRequest, kind: type[Kind]) -> Journal[Kind]:
        """Finished items of a stage that makes many: what is in it is not made again."""
        return Journal(self.files, f"{self.stage_folder(request)}/items", kind)

    # documents and journals

    def put_document(self, name: str, document: Document) -> bool:
        """Writes a document once; False if there is one of that name already."""
        return self.files.create(f"documents/{name}.json", document.to_bytes())

    def get_document(self, name: str, kind: type[Kind]) -> Kind | None:
        """The document of that name, or None."""
        path = f"documents/{name}.json"
        try:
            data = self.files.read(path)
        except FileNotFoundError:
            return None
        return kind.from_bytes(data, where=f"{self.files.url}/{path}")

    def delete_document(self, name: str) -> None:
        """Removes a document; none there is fine."""
        self.files.delete(f"documents/{name}.json")

    def list_documents(self, folder: str) -> Iterator[str]:
        """Names of the documents in a folder, for get_document."""
        for path in self.files.list(f"documents/{folder}"):
            yield path.removeprefix("documents/").removesuffix(".json")

    def journal(self, name: str, kind: type[Kind]) -> Journal[Kind]:
        """The journal of that name."""
        return Journal(self.files, f"journals/{name}", kind)


def _blob_path(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"
