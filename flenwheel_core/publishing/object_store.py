"""Publishing to an object store: files under their digests, and the record last.

PLACE/NAME/blobs/DIGEST/FILE    never overwritten: links and downloads in flight stay what they were
PLACE/NAME/publication.json     names the newest files; written when all of them are there

Nothing is made public: what may be read by whom is the bucket's own matter. A link for others expires.
"""

from collections.abc import Callable, Mapping

from flenwheel_core.base.errors import InputError, ServerError
from flenwheel_core.publishing.bundle import RECORD, Bundle, Publication, PublicationFile, require_same_subject
from flenwheel_core.requests.publish import PublishedFile, PublishResult
from flenwheel_core.store.files import Files


def require_address(place: str) -> str:
    """The address; raises InputError if it is none of an object store."""
    scheme, separator, rest = place.partition("://")
    if not separator or not rest.strip("/") or scheme not in ("s3", "s3a", "gs", "az", "abfs", "file"):
        raise InputError(
            f"{place[:80]!r} is no address of an object store.",
            remedy="Give one such as s3://bucket/prefix, or set FLENWHEEL_PUBLISH_URL.",
        )
    return place.rstrip("/")


def publish_to_store(
    bundle: Bundle, place: str, options: Mapping[str, str], *, note: Callable[[str], None]
) -> PublishResult:
    """Brings all files there, then the record. Raises InputError if something else has that name there, ServerError if the store does not
    answer."""
    files, record = Files(require_address(place), dict(options)), bundle.record()
    written = f"{bundle.name}/{RECORD}"
    standing = _standing(files, written)
    if standing is not None:
        require_same_subject(
            Publication.from_bytes(standing, where=files.address(written)), bundle, files.address(written)
        )
    sent = 0
    for file in record.files:
        path = _path(bundle.name, file)
        if not _is_there(files, path, file.size_bytes):
            files.write(path, bundle.files[file.name])
            sent += 1
        if not _is_there(files, path, file.size_bytes):
            raise ServerError(f"{files.address(path)} did not arrive.", remedy="Try again: what arrived is kept.")
    note(f"{sent} files sent, {len(record.files) - sent} were there")
    if standing != record.to_bytes():
        files.write(written, record.to_bytes())
    return PublishResult(
        to="s3",
        address=files.address(written),
        files=tuple(
            PublishedFile(
                name=file.name,
                digest=file.sha256,
                size_bytes=file.size_bytes,
                address=files.address(_path(bundle.name, file)),
            )
            for file in record.files
        ),
        digest=record.digest,
    )


def expiring_link(address: str, options: Mapping[str, str], seconds: int) -> str | None:
    """A link to a published file for whoever has it, for so long; None where the store knows none."""
    folder, _, name = address.rpartition("/")
    return Files(folder, dict(options)).link(name, seconds)


def read_publication(place: str, name: str, options: Mapping[str, str]) -> Publication | None:
    """What is published under a name; None if nothing is."""
    files = Files(require_address(place), dict(options))
    data = _standing(files, f"{name}/{RECORD}")
    return None if data is None else Publication.from_bytes(data, where=files.address(f"{name}/{RECORD}"))


def _path(name: str, file: PublicationFile) -> str:
    return f"{name}/blobs/{file.sha256}/{file.name}"


def _is_there(files: Files, path: str, size_bytes: int) -> bool:
    """True for the whole file: an object store shows no part of one, and the path holds its digest."""
    return files.exists(path) and files.size(path) == size_bytes


def _standing(files: Files, path: str) -> bytes | None:
    try:
        return files.read(path)
    except FileNotFoundError:
        return None
