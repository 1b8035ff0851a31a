"""A query that failed in SQLite never holds up the thread that answers requests, with the engine that Prefect makes."""

import asyncio
import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from deployments.prefect import database, server
from flenwheel_core.base.settings import Settings

PATIENCE_MS = 8000


@pytest.fixture
def answering() -> Iterator[None]:
    database.keep_answering()
    yield
    event.remove(Engine, "do_connect", database._connect_promptly)


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
            left = [found for found in gc.get_objects() if isinstance(found, sqlite3.Cursor)]
            for cursor in left:
                with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                    cursor.fetchone()
            kept = [int(row[0]) for row in await connection.exec_driver_sql("SELECT id FROM runs")]
        await engine.dispose()
        return len(left), kept

    left, kept = asyncio.run(requests())
    assert left >= 2, "the errors hold their cursors"
    assert kept[0] == 1


def test_the_workspaces_server_serves_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: list[bool] = []

    def serve(app: object, **options: object) -> None:
        served.append(event.contains(Engine, "do_connect", database._connect_promptly))
        event.remove(Engine, "do_connect", database._connect_promptly)

    monkeypatch.setattr(uvicorn, "run", serve)
    monkeypatch.setattr(server, "Settings", lambda: Settings(workspace=tmp_path, gpu="cpu"))
    try:
        server.main("127.0.0.1", 4200)
    finally:
        gc.unfreeze()
    assert served == [True]
