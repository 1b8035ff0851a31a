"""Logins of browsers."""

from dataclasses import dataclass
from pathlib import Path

from deployments.studio.sessions import LIFETIME_SECONDS, MOST_SESSIONS, Sessions

SECRET = b"the workspace's own"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def test_every_login_is_its_own_and_can_be_ended(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "sessions.json", SECRET, "token")
    first, second = sessions.open(), sessions.open()
    assert first != second and sessions.is_open(first) and sessions.is_open(second)
    sessions.end(first)
    assert not sessions.is_open(first) and sessions.is_open(second)
    assert not sessions.is_open("") and not sessions.is_open("made up")


def test_a_session_ends_at_the_server(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path / "sessions.json", SECRET, "token", clock)
    id_ = sessions.open()
    clock.now += LIFETIME_SECONDS - 1
    assert sessions.is_open(id_)
    clock.now += 2
    assert not sessions.is_open(id_)


def test_sessions_outlive_a_restart_but_not_a_new_token(tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"
    id_ = Sessions(path, SECRET, "token").open()
    assert Sessions(path, SECRET, "token").is_open(id_)
    assert not Sessions(path, SECRET, "another token").is_open(id_)
    assert not Sessions(path, b"another workspace", "token").is_open(id_)


def test_the_file_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"
    sessions = Sessions(path, SECRET, "token")
    id_ = sessions.open()
    written = path.read_text()
    assert id_ not in written and "token" not in written and path.stat().st_mode & 0o077 == 0
    path.write_text("no JSON")
    assert not Sessions(path, SECRET, "token").is_open(id_)


def test_without_a_place_to_write_a_login_still_works(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "missing" / "sessions.json", SECRET, "token")
    id_ = sessions.open()
    assert sessions.is_open(id_)
    sessions.end(id_)
    assert not sessions.is_open(id_)


def test_sessions_are_bounded(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "missing" / "sessions.json", SECRET, "token")
    ids = [sessions.open() for _ in range(MOST_SESSIONS + 5)]
    assert sum(sessions.is_open(id_) for id_ in ids) == MOST_SESSIONS and sessions.is_open(ids[-1])
