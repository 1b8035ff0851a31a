"""How the workspace's server uses SQLite: a query that failed holds up nobody, and who is sure to write takes the write lock first.

Prefect's server answers all requests in one thread; each of its connections to SQLite has a thread of its own. sqlalchemy 2.0 leaves the
cursor of a query that failed ("database is locked") to Python's garbage collection, which mostly runs in the thread of the requests. If
that connection is waiting for the write lock again by then, the collection waits for the connection. Whoever holds the write lock cannot
finish, for it needs the thread of the requests; so nothing is answered until SQLite gives up waiting, after 60 seconds.

A transaction that reads, and writes when another one has written meanwhile, is refused at once: it can only be tried again from its start.
Requests that runs and workers send all the time are such transactions, and some that a person sends who presses a button in Prefect's
interface, which does not try again. They take the lock first, and wait for it some milliseconds.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self, TypeVar, overload

from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine

from deployments.prefect.guard import App, Receive, Send

LOCK_LATE, LOCK_FIRST = "BEGIN DEFERRED", "BEGIN IMMEDIATE"
CHANNEL = "websocket"
SURE_WRITERS = (
    ("PATCH", re.compile(r"/api/flow_runs/[^/]+/labels")),
    ("POST", re.compile(r"/api/flow_runs/[^/]+/resume")),
    ("POST", re.compile(r"/api/deployments/[^/]+/(create_flow_run|schedules)")),
    ("PATCH", re.compile(r"/api/deployments/[^/]+/schedules/[^/]+")),
    ("DELETE", re.compile(r"/api/deployments/[^/]+/schedules/[^/]+")),
    ("POST", re.compile(r"/api/v2/concurrency_limits/increment(-with-lease)?")),
    ("POST", re.compile(r"/api/work_pools/[^/]+/workers/heartbeat")),
    (CHANNEL, re.compile(r"/api/work_pools/[^/]+/workers/connect")),
)
"""None of them opens a second transaction within the one that writes: that one would wait for the first."""

_sure_to_write: ContextVar[bool] = ContextVar("sure_to_write", default=False)
_Cursor = TypeVar("_Cursor", bound=sqlite3.Cursor)


@contextmanager
def _closed_if_it_fails(cursor: sqlite3.Cursor) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error:
        cursor.close()
        raise


class PromptCursor(sqlite3.Cursor):
    """A cursor that holds nothing of its connection once a query failed."""

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        with _closed_if_it_fails(self):
            return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Self:
        with _closed_if_it_fails(self):
            return super().executemany(sql, parameters)

    def fetchall(self) -> list[Any]:
        with _closed_if_it_fails(self):
            return super().fetchall()


class PromptConnection(sqlite3.Connection):
    """A connection whose cursors let go of it once a query failed."""

    @overload
    def cursor(self, factory: None = None) -> sqlite3.Cursor: ...
    @overload
    def cursor(self, factory: Callable[[sqlite3.Connection], _Cursor]) -> _Cursor: ...
    def cursor(self, factory: Callable[[sqlite3.Connection], sqlite3.Cursor] | None = None) -> sqlite3.Cursor:
        return super().cursor(factory or PromptCursor)


def _connect_promptly(dialect: Dialect, record: object, arguments: object, options: dict[str, object]) -> None:
    if dialect.name == "sqlite":
        options["factory"] = PromptConnection


def _begin_as_it_will_end(
    connection: object, cursor: object, statement: str, parameters: object, context: object, many: bool
) -> tuple[str, object]:
    return (LOCK_FIRST if statement == LOCK_LATE and _sure_to_write.get() else statement), parameters


class LockFirst:
    """Prefect's app: requests that are sure to write take the write lock before they read."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        method, path = scope.get("method", scope["type"]), scope.get("path", "")
        token = _sure_to_write.set(any(method == one and pattern.fullmatch(path) for one, pattern in SURE_WRITERS))
        try:
            await self._app(scope, receive, send)
        finally:
            _sure_to_write.reset(token)


def keep_answering() -> None:
    """From now on, what this process opens of SQLite through sqlalchemy is used so. Other databases are as before."""
    event.listen(Engine, "do_connect", _connect_promptly)
    event.listen(Engine, "before_cursor_execute", _begin_as_it_will_end, retval=True)
