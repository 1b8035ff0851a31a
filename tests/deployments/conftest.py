"""One running workspace for all slow tests: its start costs more than most of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kit.workspace import Running
from tests.kit.running_workspace import running_workspace


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, prefect_database: Path) -> Iterator[Running]:
    """`flenwheel up` with stand-in stages, which are not forked."""
    with running_workspace(tmp_path_factory.mktemp("system"), prefect_database, import_ahead=False) as workspace:
        yield workspace
