"""A stand-in for the Hub on loopback: it answers what the real client asks, gates models, and breaks off downloads."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40
LARGE = (".safetensors", ".bin", ".parquet")
_PIECE_BYTES = 1 << 20


@dataclass
class Repository:
    """A model on the stand-in; change it while the server runs."""

    files: dict[str, bytes]
    commit: str = COMMIT
    gated: bool = False
    licence: str = "apache-2.0"
    break_after: int | None = None
    """Send so many bytes of each large file, then close every connection."""
    spoil: bool = False
    """Send other bytes than were promised."""
    ranges: bool = True
    """False: send a file from its beginning, whatever was asked for."""
    seconds_a_piece: float = 0.0
    """Wait so long after each mebibyte of a file."""


@dataclass
class Hub:
    """The running stand-in and what was asked of it."""

    url: str
    models: dict[str, Repository] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes of each file that went out."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        api = parts[0] == "api" and parts[1] in ("models", "datasets")
        parts = parts[2:] if api else parts[parts[0] == "datasets" :]
        model = self.hub.models.get("/".join(parts[:2]))
        if model is None:
            self._send(404, {"X-Error-Code": "RepoNotFound"}, b"{}", body)
            return
        verb, rest = parts[2], parts[3:]
        if rest and rest[0] not in ("main", model.commit):
            self._send(404, {"X-Error-Code": "RevisionNotFound"}, b"{}", body)
        elif api and verb == "auth-check":
            self._send(403 if model.gated else 200, {"X-Error-Code": "GatedRepo"} if model.gated else {}, b"{}", body)
        elif api and verb == "revision":
            self._json(self._info("/".join(parts[:2]), model), body)
        elif api and verb == "tree":
            self._json([self._entry(name, data, "path", "oid") for name, data in model.files.items()], body)
        else:
            self._file(model, "/".join(rest[1:]), body)

    def _info(self, name: str, model: Repository) -> dict[str, object]:
        siblings = [self._entry(file, data, "rfilename", "sha256") for file, data in model.files.items()]
        gated = "manual" if model.gated else False
        card = {"license": model.licence}
        return {"_id": "1", "id": name, "sha": model.commit, "gated": gated, "cardData": card, "siblings": siblings}

    def _entry(self, name: str, data: bytes, key: str, digest_key: str) -> dict[str, object]:
        entry: dict[str, object] = {"type": "file", key: name, "size": len(data), "oid": _git_id(data)}
        if name.endswith(LARGE):
            entry["lfs"] = {digest_key: sha256(data), "size": len(data), "pointerSize": 100}
        return entry

    def _file(self, model: Repository, name: str, body: bool) -> None:
        data = model.files.get(name)
        if model.gated:
            self._send(403, {"X-Error-Code": "GatedRepo"}, b"{}", body)
            return
        if data is None:
            self._send(404, {"X-Error-Code": "EntryNotFound"}, b"{}", body)
            return
        large = name.endswith(LARGE)
        headers = {"X-Repo-Commit": model.commit, "ETag": f'"{sha256(data) if large else _git_id(data)}"'}
        headers["Accept-Ranges"] = "bytes"
        start, status = 0, 200
        asked = self.headers.get("Range", "")
        if body and model.ranges and asked.startswith("bytes="):
            start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        content = data[start:]
        if body and model.spoil and large:
            content = bytes(len(content))
        if body and large and model.break_after is not None:
            cut = max(0, model.break_after - self.hub.sent[name])
            self.hub.sent[name] += cut
            self._send(status, headers, content, body, cut)
            return
        if body:
            self.hub.sent[name] += len(content)
        self._send(status, headers, content, body, pause=model.seconds_a_piece)

    def _json(self, value: object, body: bool) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(value).encode(), body)

    def _send(
        self,
        status: int,
        headers: Mapping[str, str],
        content: bytes,
        body: bool,
        cut: int | None = None,
        pause: float = 0.0,
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        if cut is not None:
            self.close_connection = True
        self.end_headers()
        if not body:
            return
        content = content[:cut]
        try:
            for start in range(0, len(content), _PIECE_BYTES):
                self.wfile.write(content[start : start + _PIECE_BYTES])
                time.sleep(pause)
        except ConnectionError:  # who asked was killed
            self.close_connection = True


def _git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def running_hub() -> Iterator[Hub]:
    """The stand-in on a free port of loopback."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    handler.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
