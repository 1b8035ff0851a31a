"""A stand-in for the Hub that can be written to: it speaks what huggingface_hub's client speaks when it publishes, over HTTP.

Repositories with commits; small files inside the commit, large ones by LFS (batch, PUT, verify) as the real one does it without Xet.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from werkzeug.wrappers import Request, Response

LARGE = (".safetensors", ".png", ".bin")


@dataclass
class Repository:
    """What lies at its head, and how it came there."""

    kind: str
    private: bool
    sdk: str | None = None
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b"*.safetensors filter=lfs\n"})
    commits: list[str] = field(default_factory=lambda: [hashlib.sha1(b"first").hexdigest()])
    messages: list[str] = field(default_factory=lambda: ["initial commit"])


@dataclass
class HubApp:
    """The stand-in, a WSGI app; `token` is the only one that may write."""

    token: str
    owner: str = "ana"
    url: str = ""
    elsewhere: str = ""
    """The server that readers of files are sent on to; this one if empty."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    """By kind and name, such as model/ana/mira."""
    large: dict[str, bytes] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        with self._lock:
            answer = self._answer(Request(environ))
        return answer(environ, start)

    def _answer(self, request: Request) -> Response:
        data = request.get_data()
        parts = request.path.strip("/").split("/")
        if parts[0] == "lfs":  # as with the real one, whoever has the link may use it
            return self._lfs(request, parts, data)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.add(token)
        if token != self.token:
            return _json({"error": "Invalid credentials"}, 401)
        if parts == ["api", "validate-yaml"]:
            content = json.loads(data)["content"]
            errors = [] if content.startswith("---\n") else [{"message": "no front matter"}]
            return _json({"errors": errors, "warnings": []}, 400 if errors else 200)
        if parts == ["api", "repos", "create"]:
            return self._create(json.loads(data))
        if parts[:2] == [
            "api",
            "resolve-cache",
        ]:  # models/OWNER/NAME/REVISION/FILE, where readers of small files are sent to
            found = self.repositories.get(f"{parts[2].removesuffix('s')}/{'/'.join(parts[3:5])}")
            content = found.files.get("/".join(parts[6:])) if found is not None else None
            return Response(content) if content is not None else _json({}, 404, {"X-Error-Code": "EntryNotFound"})
        if parts[0] == "api":
            kind, name, verb, rest = parts[1].removesuffix("s"), "/".join(parts[2:4]), parts[4:5], parts[5:]
        else:
            kind = "space" if parts[0] == "spaces" else "model"
            parts = parts[1:] if kind == "space" else parts
            name, verb, rest = f"{parts[0]}/{parts[1].removesuffix('.git')}", parts[2:3], parts[3:]
        found = self.repositories.get(f"{kind}/{name}")
        if found is None:
            return _json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        return self._in_repository(found, name, verb[0] if verb else "", rest, data)

    def _create(self, asked: dict[str, Any]) -> Response:
        owner = asked.get("organization") or self.owner
        if owner != self.owner:
            return _json({"error": f"You don't have the rights to create a model under {owner}"}, 403)
        kind = asked.get("type") or "model"
        key = f"{kind}/{owner}/{asked['name']}"
        if key in self.repositories:
            return _json({"error": "You already created this repo", "url": f"{self.url}/{owner}/{asked['name']}"}, 409)
        self.repositories[key] = Repository(kind, asked.get("visibility") == "private", asked.get("sdk"))
        return _json({"url": f"{self.url}/{owner}/{asked['name']}"})

    def _in_repository(self, found: Repository, name: str, verb: str, rest: list[str], data: bytes) -> Response:
        if verb == "":
            siblings = [{"rfilename": file} for file in found.files]
            return _json(
                {"_id": "1", "id": name, "sha": found.commits[-1], "private": found.private, "siblings": siblings}
            )
        if verb == "tree":
            return _json([_entry(file, content) for file, content in sorted(found.files.items())])
        if verb == "resolve":
            return _json(
                {}, 307, {"Location": f"{self.elsewhere}/api/resolve-cache/{found.kind}s/{name}/{'/'.join(rest)}"}
            )
        if verb == "settings":
            asked = json.loads(data)
            found.private = asked.get("private", asked.get("visibility", "private") == "private")
            return _json({})
        if verb == "preupload":
            files = json.loads(data)["files"]
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for file in files
            ]
            return _json({"files": modes})
        if verb == "info":
            return self._batch(json.loads(data))
        assert verb == "commit"
        return self._commit(found, name, data)

    def _batch(self, asked: dict[str, Any]) -> Response:
        objects = []
        for one in asked["objects"]:
            known = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.large:
                known["actions"] = {
                    "upload": {"href": f"{self.url}/lfs/{one['oid']}"},
                    "verify": {"href": f"{self.url}/lfs/{one['oid']}/verify"},
                }
            objects.append(known)
        return _json({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")

    def _lfs(self, request: Request, parts: list[str], data: bytes) -> Response:
        if parts[-1] == "verify":
            return _json({}, 200 if parts[1] in self.large else 404)
        if hashlib.sha256(data).hexdigest() != parts[1]:
            return _json({"error": "not what was announced"}, 400)
        self.large[parts[1]] = data
        return Response(b"")

    def _commit(self, found: Repository, name: str, data: bytes) -> Response:
        lines = [json.loads(line) for line in data.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, found.commits[-1]):
            return _json({"error": "A commit has happened since. Please refresh and try again."}, 412)
        files = dict(found.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.large:
                    return _json({"error": "LFS pointer pointed to a file that does not exist"}, 400)
                files[value["path"]] = self.large[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
        found.files = files
        found.commits.append(hashlib.sha1(data + found.commits[-1].encode()).hexdigest())
        found.messages.append(header["summary"])
        return _json({"commitUrl": f"{self.url}/{name}/commit/{found.commits[-1]}", "commitOid": found.commits[-1]})


def _entry(path: str, content: bytes) -> dict[str, Any]:
    git_id = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_id}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


def _json(
    value: Any, status: int = 200, headers: dict[str, str] | None = None, kind: str = "application/json"
) -> Response:
    return Response(json.dumps(value), status, headers, content_type=kind)
