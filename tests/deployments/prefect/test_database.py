"""A query that failed in SQLite never holds up the thread that answers requests, with the engine that Prefect makes."""

import asyncio
import gc
import sqlite3
from collections.abc import Iterator, MutableMapping
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from deployments.prefect import database, server
from deployments.prefect.guard import Receive, Send
from flenwheel_core.base.settings import Settings

PATIENCE_MS = 8000


@pytest.fixture
def answering() -> Iterator[None]:
    database.keep_answering()
    yield
    forget()


def forget() -> None:
    event.remove(Engine, "do_connect", database._connect_promptly)
    event.remove(Engine, "before_cursor_execute", database._begin_as_it_will_end)


async def engine_of_prefect(folder: Path) -> AsyncEngine:
    from prefect.server.database.configurations import AioSqliteConfiguration

    return await AioSqliteConfiguration(f"sqlite+aiosqlite:///{folder / 'prefect.db'}").engine()


async def wait_for_the_write_lock(connection: AsyncConnection, milliseconds: int) -> None:
    await connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")
    await connection.exec_driver_sql("BEGIN IMMEDIATE")


def test_collecting_what_a_locked_database_refused_does_not_wait_for_its_connection(
    tmp_path: Path, answering: None
) -> None:
    async def requests() -> str:
        engine = await engine_of_prefect(tmp_path)
        async with engine.connect() as connection, engine.connect() as writer:
            await wait_for_the_write_lock(writer, 0)
            refused: list[OperationalError] = []
            try:
                await wait_for_the_write_lock(connection, 0)
            except OperationalError as error:
                refused.append(error)
            again = asyncio.ensure_future(wait_for_the_write_lock(connection, PATIENCE_MS))
            await asyncio.sleep(0.2)
            refused[0].__traceback__ = None
            refused.clear()
            # If this waits for the connection, the writer's end comes too late: the thread that would tell it stands here.
            gc.collect()
            await writer.rollback()
            await again
            await connection.rollback()
        await engine.dispose()
        return "went on"

    gc.disable()
    try:
        assert asyncio.run(requests()) == "went on"
    finally:
        gc.enable()


def test_failed_queries_leave_no_open_cursor_and_the_connection_goes_on(tmp_path: Path, answering: None) -> None:
    async def requests() -> tuple[int, list[int]]:
        engine = await engine_of_prefect(tmp_path)
        errors = []
        async with engine.connect() as connection:
            await connection.exec_driver_sql("CREATE TABLE runs (id INTEGER PRIMARY KEY)")
            await connection.exec_driver_sql("INSERT INTO runs VALUES (1)")
            for rows in ([(1,)], [(2,), (1,)]):
                with pytest.raises(IntegrityError) as error:
                    await connection.exec_driver_sql("INSERT INTO runs VALUES (?)", rows)
                errors.append(error)
            left = [found for found in gc.get_objects() if issubclass(type(found), sqlite3.Cursor)]
            for cursor in left:
                with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                    cursor.fetchone()
            kept = [int(row[0]) for row in await connection.exec_driver_sql("SELECT id FROM runs")]
        await engine.dispose()
        return len(left), kept

    left, kept = asyncio.run(requests())
    assert left >= 2, "the errors hold their cursors"
    assert kept[0] == 1


@pytest.mark.parametrize(
    ("method", "path", "written"),
    [
        ("PATCH", "/api/flow_runs/one/labels", [2]),
        ("POST", "/api/deployments/one/create_flow_run", [2]),
        ("POST", "/api/flow_runs/one/resume", [2]),
        ("PATCH", "/api/deployments/one/schedules/two", [2]),
        ("POST", "/api/v2/concurrency_limits/increment-with-lease", [2]),
        ("POST", "/api/work_pools/flenwheel/workers/heartbeat", [2]),
        (None, "/api/work_pools/flenwheel/workers/connect", [2]),
        ("GET", "/api/flow_runs/one/labels", []),
        ("POST", "/api/flow_runs/filter", []),
    ],
)
def test_a_request_that_is_sure_to_write_is_not_refused_because_another_wrote_since_it_read(
    tmp_path: Path, answering: None, method: str | None, path: str, written: list[int]
) -> None:
    """The other one writes from outside, and finds the lock taken (it goes without) or free (then the request is refused)."""
    place = tmp_path / "prefect.db"

    async def prefect(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        from prefect.server.database.configurations import AioSqliteConfiguration

        configuration = AioSqliteConfiguration(f"sqlite+aiosqlite:///{place}")
        engine = await configuration.engine()
        session = await configuration.session(engine)
        try:
            async with session, configuration.begin_transaction(session):
                await session.execute(text("SELECT id FROM runs"))
                write_from_outside(place)
                await session.execute(text("INSERT INTO runs VALUES (2)"))
        finally:
            await engine.dispose()

    async def nothing() -> MutableMapping[str, Any]:
        return {}

    async def silent(message: MutableMapping[str, Any]) -> None:
        pass

    with closing(sqlite3.connect(place)) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE runs (id INTEGER)")
    request = {"type": "http", "method": method} if method else {"type": "websocket"}
    with nullcontext() if written else pytest.raises(OperationalError, match="locked"):
        asyncio.run(database.LockFirst(prefect)({**request, "path": path}, nothing, silent))
    with closing(sqlite3.connect(place)) as made:
        assert [int(row[0]) for row in made.execute("SELECT id FROM runs WHERE id = 2")] == written


def write_from_outside(place: Path) -> None:
    with closing(sqlite3.connect(place, timeout=0)) as other, suppress(sqlite3.OperationalError):
        other.execute("INSERT INTO runs VALUES (1)")
        other.commit()


def test_the_workspaces_server_serves_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: list[bool] = []

    def serve(app: object, **options: object) -> None:
        served.append(event.contains(Engine, "do_connect", database._connect_promptly))
        forget()

    monkeypatch.setattr(uvicorn, "run", serve)
    monkeypatch.setattr(server, "Settings", lambda: Settings(workspace=tmp_path, gpu="cpu"))
    try:
        server.main("127.0.0.1", 4200)
    finally:
        gc.unfreeze()
    assert served == [True]
