"""What a cluster's Prefect server runs on: Postgres for its rows; Redis for its events, their order, leases, queues and background work.

Prefect keeps all of it but the rows in the memory of one process unless it is told otherwise: a second API server would then know
nothing of the leases and events of the first.
"""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from deployments.prefect.project import PROJECT
from flenwheel_core.base.errors import ServerError, UserError, first_line
from flenwheel_core.base.settings import Settings

ANSWER_SECONDS = 5.0
UPGRADE_LOCK = 0x666C656E
"""The number of the advisory lock under which one machine at a time brings the database's tables up to date."""
TURN_KEY = "flenwheel:turn"

PARTS: Mapping[str, str] = {
    "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
    "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
    "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
}

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Part:
    """A database or a Redis that answered."""

    version: str
    clock: datetime
    """Its time when it answered."""


def require_parts(settings: Settings) -> None:
    """Raises UserError if a cluster's server cannot be started with these settings."""
    missing = [name for name in ("database_url", "redis_url") if getattr(settings, name) is None]
    if missing:
        names = " and ".join(f"FLENWHEEL_{name.upper()}" for name in missing)
        raise UserError(
            "A cluster's server needs a Postgres database and a Redis.",
            why=f"{names} {'is' if len(missing) == 1 else 'are'} not set.",
            remedy="Set both to their addresses (docs/cluster.md), or run one machine alone with `flenwheel up`.",
        )
    if importlib.util.find_spec("prefect_redis") is None:
        raise UserError(
            "A cluster's server needs the package prefect-redis.",
            remedy="Install it: pip install 'flenwheel[cluster]'.",
        )


def require_store(settings: Settings) -> None:
    """Raises UserError on a machine whose pictures would be its own: others would not find what it made."""
    if settings.store is None:
        raise UserError(
            "A cluster's machines need one store.",
            why="FLENWHEEL_STORE is not set, and the workspace's own folder is on this machine alone.",
            remedy="Set FLENWHEEL_STORE to s3://bucket/prefix, or to a folder that all machines share.",
        )


def parts_environment(settings: Settings) -> dict[str, str]:
    """Tells Prefect's processes to use them, and nothing of one process's memory."""
    assert settings.database_url is not None and settings.redis_url is not None
    database = settings.database_url.get_secret_value()
    redis = settings.redis_url.get_secret_value()
    return {
        **PARTS,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database.replace("postgresql://", "postgresql+asyncpg://", 1),
        # One process does it before any of them starts.
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
        "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
        "PREFECT_SERVER_DOCKET_URL": redis,
        "PREFECT_REDIS_MESSAGING_URL": redis,
        "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": redis,
    }


def reach_database(settings: Settings) -> Part:
    """Asks Postgres for its version and time. Raises ServerError if it does not answer."""
    import asyncpg

    async def ask() -> Part:
        assert settings.database_url is not None
        connection = await asyncpg.connect(settings.database_url.get_secret_value(), timeout=ANSWER_SECONDS)
        try:
            row = await connection.fetchrow(
                "select current_setting('server_version') as version, clock_timestamp() as now"
            )
            return Part(str(row["version"]), cast(datetime, row["now"]).astimezone(UTC))
        finally:
            await connection.close(timeout=ANSWER_SECONDS)

    return _answer_of("Postgres database", "FLENWHEEL_DATABASE_URL", ask)


def reach_redis(settings: Settings) -> Part:
    """Asks Redis for its version and time. Raises ServerError if it does not answer."""

    async def ask() -> Part:
        async with _redis(settings) as redis:
            facts = cast("dict[str, Any]", await redis.info("server"))
            seconds, micro = cast("tuple[int, int]", await redis.time())
            version = str(facts.get("valkey_version") or facts["redis_version"])
            return Part(version, datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micro))

    return _answer_of("Redis", "FLENWHEEL_REDIS_URL", ask)


def is_our_turn(settings: Settings, what: str, seconds: float) -> bool:
    """True for one of all servers that ask for a duty within so many seconds: it is done once. False if Redis does not answer."""

    async def take() -> bool:
        async with _redis(settings) as redis:
            key, lasts = f"{TURN_KEY}:{what}", max(1, int(seconds * 1000))
            return bool(await redis.set(key, settings.machine_name, nx=True, px=lasts))

    with suppress(ServerError):
        return _answer_of("Redis", "FLENWHEEL_REDIS_URL", take)
    return False


def _redis(settings: Settings) -> Any:
    from redis.asyncio import Redis

    assert settings.redis_url is not None
    address = settings.redis_url.get_secret_value()
    return Redis.from_url(address, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS)


def upgrade_database(settings: Settings, environment: Mapping[str, str]) -> None:
    """Brings the tables up to date; machines that start at the same moment do it one after the other. Raises ServerError."""
    import asyncpg

    command = [sys.executable, "-m", "deployments.prefect.tables"]

    async def upgrade() -> "subprocess.CompletedProcess[str]":
        assert settings.database_url is not None
        connection = await asyncpg.connect(settings.database_url.get_secret_value(), timeout=ANSWER_SECONDS)
        try:
            await connection.execute("select pg_advisory_lock($1)", UPGRADE_LOCK)
            return await asyncio.to_thread(
                subprocess.run, command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
            )
        finally:
            await connection.close(timeout=ANSWER_SECONDS)

    done = _answer_of("Postgres database", "FLENWHEEL_DATABASE_URL", upgrade)
    if done.returncode != 0:
        raise ServerError(
            "The database's tables could not be brought up to date.", why=(done.stdout + done.stderr)[-1500:]
        )


def _answer_of(what: str, setting: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    from redis.exceptions import RedisError

    async def asked() -> Answer:
        return await ask()

    import asyncpg

    try:
        return asyncio.run(asked())
    except ValueError:
        # Whoever could not read the address repeats the part that they stumbled over, which may be one of the password.
        raise ServerError(
            f"The {what} was not asked.",
            why=f"The client cannot read the address in {setting}.",
            remedy="Correct it; signs other than letters and digits of a password are written as %2F and the like.",
        ) from None
    except (OSError, TimeoutError, RedisError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # Clients name host and port; the address itself, which holds a password, stays out of it.
        raise ServerError(
            f"The {what} does not answer.",
            why=f"{type(error).__name__}: {first_line(error)}",
            remedy=f"Start it, or set {setting} to where it is.",
        ) from None
