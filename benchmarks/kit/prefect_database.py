"""An empty database as Prefect's migrations leave it: they are two thirds of what the first start of a server computes."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from flenwheel_core.base.locks import locked

HOME, NAME = "prefect", "prefect.db"
"""Where a workspace's server keeps it (`deployments.workspace.environment`)."""


def empty_database(folder: Path) -> Path:
    """The database, made in this folder by whichever process asks first."""
    path = folder / NAME
    with locked(folder / "prefect.lock"):
        if not path.exists():
            making = folder / "making.db"
            kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
            told = {
                "PREFECT_HOME": str(folder / "home"),
                "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{making}",
            }
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
            done = subprocess.run(command, env=kept | told, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            with closing(sqlite3.connect(making)) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            making.rename(path)
    return path


def place(database: Path | None, workspace: Path) -> None:
    """Gives a workspace a copy of an empty database, unless it has one of its own."""
    target = workspace / HOME / NAME
    if database is not None and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(database, target)
