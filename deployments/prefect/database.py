"""How the workspace's server uses SQLite: the statement of a query that failed is let go at once, by the thread that ran it.

Prefect's server answers all requests in one thread; each of its connections to SQLite has a thread of its own. sqlalchemy 2.0 leaves the
cursor of a query that failed ("database is locked") to Python's garbage collection, which mostly runs in the thread of the requests. If
that connection is waiting for the write lock again by then, the collection waits for the connection. Whoever holds the write lock cannot
finish, for it needs the thread of the requests; so nothing is answered until SQLite gives up waiting, after 60 seconds.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar, overload

from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine

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


def keep_answering() -> None:
    """From now on, what this process opens of SQLite through sqlalchemy are such connections. Other databases are as before."""
    event.listen(Engine, "do_connect", _connect_promptly)
