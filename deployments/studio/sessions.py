"""Logins: each has a random id of its own, ends at the server, and can be ended. A new token ends them all."""

import hashlib
import hmac
import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

LIFETIME_SECONDS = 14 * 86400
MOST_SESSIONS = 1000
_FILE = TypeAdapter(dict[str, float])


def sign(secret: bytes, text: str) -> str:
    """A keyed digest of a text."""
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(24)


class Sessions:
    """The open logins of one studio. The file holds no id, only what proves one, bound to the token of its day."""

    def __init__(self, path: Path, secret: bytes, token: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._secret = secret
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: dict[str, float] = {}
        with suppress(OSError, ValidationError):
            self._ends = _FILE.validate_json(path.read_bytes())

    def open(self) -> str:
        """A new session's id, for the browser's cookie."""
        id_ = secrets.token_urlsafe(32)
        with self._lock:
            now = self._clock()
            kept = sorted(((end, name) for name, end in self._ends.items() if end > now), reverse=True)
            self._ends = {name: end for end, name in kept[: MOST_SESSIONS - 1]}
            self._ends[self._name(id_)] = now + LIFETIME_SECONDS
            self._save()
        return id_

    def is_open(self, id_: str) -> bool:
        """True for a session that was opened with the present token and has not ended."""
        return self._clock() < self._ends.get(self._name(id_), 0.0)

    def end(self, id_: str) -> None:
        """Ends one session; one that is not open is fine."""
        with self._lock:
            if self._ends.pop(self._name(id_), None) is not None:
                self._save()

    def _name(self, id_: str) -> str:
        return sign(self._secret, f"session {self._token} {id_}")

    def _save(self) -> None:
        # A full disk locks nobody out: such sessions last until the studio starts again. What was ended must not come back.
        temporary = self._path.with_name(f".{self._path.name}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(self._ends, file)
            temporary.replace(self._path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
                self._path.unlink(missing_ok=True)
