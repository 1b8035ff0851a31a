"""One small layer over fsspec: atomic writes, reads, listings, for `file://` and `s3://` alike."""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlparse

import fsspec

from flenwheel_core.base.disk import disk_error
from flenwheel_core.base.errors import RecipeError, ResourceError, RetryableError, ServerError, StoreError, first_line
from flenwheel_core.store.object_listing import list_objects

_log = logging.getLogger(__name__)
LARGE = "blobs/"
CONFLICT, THERE = 409, 412
"""What S3 answers to a conditional write while another one is under way, and after it."""
MOST_TRIES = 100
WAIT_SECONDS = 0.05
_CLIENTS = ("botocore", "aiobotocore", "aiohttp", "urllib3")


class Files:
    """Files under one root URL. Paths are relative, with forward slashes; none may leave the root."""

    def __init__(self, url: str, options: dict[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        self.watchers: list[Callable[[str, bool], None]] = []
        """Told of every file that was written (True) or deleted through this object."""
        parsed = urlparse(url)
        self._s3 = parsed.scheme == "s3"
        self._whole = {"max_concurrency": 1} if self._s3 else {}
        """In one request. Otherwise s3fs asks for the size first: one question more for what is small and read often."""
        self.local: Path | None = None
        if parsed.scheme == "file":
            self.local = Path(unquote(parsed.path))
            self._fs = fsspec.filesystem("file")
            self._root = str(self.local)
        else:
            self._fs = _remote(parsed.scheme, options or {})
            self._root = f"{parsed.netloc}{parsed.path}".rstrip("/")

    def read(self, path: str) -> bytes:
        """The bytes of a file; raises FileNotFoundError."""
        # Blobs may be LoRAs and states of trainings, of which several parts come at once; they never change between two questions.
        how = {} if path.startswith(LARGE) else self._whole
        with self._in_words("read", path):
            return bytes(self._fs.cat_file(self._full(path), **how))

    def read_many(self, paths: Sequence[str]) -> list[bytes]:
        """The bytes of several files, in their order; an object store is asked for many at once. Raises FileNotFoundError."""
        if self.local is not None or len(paths) < 2:
            return [self.read(path) for path in paths]
        full = [self._full(path) for path in paths]
        with self._in_words("read", f"{paths[0]} and {len(paths) - 1} more"):
            found = self._fs.cat(full, **self._whole)
        return [bytes(found[name]) for name in full]

    def write(self, path: str, data: bytes) -> None:
        """Puts the whole file there at once, or nothing: a reader never sees a part of it."""
        full = self._full(path)
        with self._in_words("write", path):
            if self.local is None:
                self._fs.pipe_file(full, data)
            else:
                _write_local(Path(full), data)
        self._tell(path, there=True)

    def create(self, path: str, data: bytes, *, look_first: bool = True) -> bool:
        """Like write, but leaves a file that is already there alone and says False.

        Of several machines that do it at once, one succeeds. `look_first` spares sending what is there already.
        """
        created = self._created(path, data, look_first)
        tries = 0
        while created is None:
            tries += 1
            if tries > MOST_TRIES:
                raise self.failed("write", path, OSError("another writer is at it, and does not come to an end"))
            time.sleep(WAIT_SECONDS)
            created = self._created(path, data, look_first)
        self._tell(path, there=True)  # also what another machine created first: from now on it is known here, too
        return created

    def _created(self, path: str, data: bytes, look_first: bool) -> bool | None:
        """One try; None if the object store is busy with another writer of the same file, which is neither there nor refused by then."""
        full = self._full(path)
        try:
            with self._in_words("write", path):
                if self.local is not None:
                    return _create_local(Path(full), data)
                if look_first and self._fs.exists(full):
                    return False
                self._fs.pipe_file(full, data, mode="create")
                return True
        except FileExistsError:
            return False
        except ServerError as error:
            status = _status(error.__cause__)
            if status not in (CONFLICT, THERE):
                raise
            return None if status == CONFLICT else False

    def exists(self, path: str) -> bool:
        """True if there is such a file."""
        with self._in_words("read", path):
            self._refresh()
            return bool(self._fs.exists(self._full(path)))

    def delete(self, path: str) -> None:
        """Removes one file; none there is fine."""
        try:
            with self._in_words("write", path):
                self._fs.rm_file(self._full(path))
        except FileNotFoundError:
            return
        self._tell(path, there=False)

    def _tell(self, path: str, *, there: bool) -> None:
        for told in self.watchers:
            told(path, there)

    def list(self, folder: str) -> Iterator[str]:
        """Every file below a folder, as a path relative to the root, sorted. Unfinished writes are not shown."""
        for name in sorted(self._found(folder, stamped=False)):
            relative = name[len(self._root) :].lstrip("/")
            if not Path(relative).name.startswith(".tmp-"):
                yield relative

    def stamps(self, folder: str) -> dict[str, str]:
        """Every file below a folder, with what changes when its content does: the object store's own tag."""
        return {name[len(self._root) :].lstrip("/"): stamp for name, stamp in self._found(folder, stamped=True).items()}

    def _found(self, folder: str, *, stamped: bool) -> dict[str, str]:
        """Whole names, with their stamps; a stamp may be empty where none is asked for."""
        full = self._full(folder)
        try:
            with self._in_words("read", folder):
                if self._s3:
                    return dict(list_objects(self._fs, full))
                self._refresh()
                if not stamped:
                    return dict.fromkeys(map(str, self._fs.find(full)), "")
                found = self._fs.find(full, detail=True)
        except FileNotFoundError:
            return {}
        return {
            str(name): str(facts.get("ETag") or (facts.get("mtime"), facts.get("size")))
            for name, facts in found.items()
        }

    def size(self, path: str) -> int:
        """Bytes of a file; raises FileNotFoundError."""
        with self._in_words("read", path):
            return int(self._fs.size(self._full(path)))

    def address(self, path: str) -> str:
        """The file as programs name it, such as s3://bucket/prefix/path."""
        return f"{self.url}/{path}"

    def link(self, path: str, seconds: int) -> str | None:
        """An address at which anybody may read the file for so long, such as a presigned one of S3; None where there is no such thing,
        and where the credentials can sign none."""
        full = self._full(path)
        try:
            return str(self._fs.sign(full, expiration=seconds))
        except NotImplementedError:
            return None
        except Exception as error:  # each client has an error of its own for credentials that cannot sign
            _log.warning("No link to %s: %s", self.address(path), first_line(error))
            return None

    def modified(self, path: str) -> float:
        """When a file was last written, in seconds since 1970; raises FileNotFoundError."""
        with self._in_words("read", path):
            return float(self._fs.modified(self._full(path)).timestamp())

    def _full(self, path: str) -> str:
        parts = path.split("/")
        if path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in parts):
            raise StoreError(
                f"{path!r} is no path inside the store.", remedy="This is a defect of the program; please report it."
            )
        return f"{self._root}/{path}"

    def _refresh(self) -> None:
        if self.local is None:
            self._fs.invalidate_cache()

    @contextmanager
    def _in_words(self, verb: Literal["read", "write"], path: str) -> Iterator[None]:
        """What keeps a file from being read or written becomes one of our errors; that it is not there, or there already, does not."""
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise self.failed(verb, path, error) from error
        except Exception as error:
            # Without credentials, or with a name that no bucket has, the client's own errors come through fsspec.
            if self.local is not None or not type(error).__module__.startswith(_CLIENTS):
                raise
            raise self.failed(verb, path, error) from error

    def failed(
        self, verb: Literal["read", "write"], path: str, error: Exception
    ) -> ResourceError | StoreError | RetryableError:
        """The error for a file that could not be read or written."""
        where = f"{self.url}/{path}"
        known = disk_error(error, where) if verb == "write" and isinstance(error, OSError) else None
        if known is not None:
            return known
        if self.local is None:
            return ServerError(
                f"Could not {verb} {where}.",
                why=str(error),
                remedy="Check the object store, its address and the credentials, and try again.",
            )
        return StoreError(
            f"Could not {verb} {where}.", why=str(error), remedy="Check the folder's permissions and the disk."
        )


def _remote(scheme: str, options: dict[str, str]) -> "fsspec.AbstractFileSystem":
    kept = {"use_listings_cache": False} if scheme == "s3" else {}  # others write at the same time
    taken = sorted(set(kept) & set(options))
    if taken:
        raise RecipeError(
            f"The store's options may not say {taken[0]}.",
            why="Listings are never kept: other machines write at the same time.",
            remedy="Take it out of FLENWHEEL_STORE_OPTIONS, or of store_options in flenwheel.toml.",
        )
    try:
        return fsspec.filesystem(scheme, **_nested(options), **kept)
    except (ImportError, ValueError) as error:
        raise StoreError(
            f"The store cannot use {scheme}:// addresses.",
            why=str(error),
            remedy="Use a folder or s3://bucket/folder, which needs: pip install 'flenwheel[s3]'.",
        ) from error


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that a client's error came with: s3fs tells its own errors by the code in words, which stores spell as they like."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return int(found) if found is not None else None
        error = error.__cause__
    return None


def _nested(options: dict[str, str]) -> dict[str, object]:
    """`endpoint_url` is a client option of s3fs; the rest goes in as it is."""
    client = {key: value for key, value in options.items() if key in ("endpoint_url", "region_name")}
    rest: dict[str, object] = {key: value for key, value in options.items() if key not in client}
    return {**rest, **({"client_kwargs": client} if client else {})}


def _temporary(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".tmp-{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _write_local(path: Path, data: bytes) -> None:
    temporary = _temporary(path, data)
    temporary.replace(path)
    _sync_folder(path.parent)


def _create_local(path: Path, data: bytes) -> bool:
    if path.exists():
        return False
    temporary = _temporary(path, data)
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_folder(path.parent)
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
