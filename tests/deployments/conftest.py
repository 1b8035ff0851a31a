"""One running workspace for all slow tests: its start costs more than most of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kit.workspace import Running, write_recipe
from flenwheel_core.base.settings import Settings


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`flenwheel up` with stand-in stages."""
    folder = tmp_path_factory.mktemp("system")
    recipe = write_recipe(folder)
    settings = Settings(
        workspace=folder / "workspace",
        gpu="cpu",
        author="tester",
        stage_modules=("benchmarks.kit.turn_stages", "tests.kit.editor_stages"),
        models=folder / "models",
        service_recipe=str(recipe),
        publish_url=(folder / "published").as_uri(),
    )
    workspace = Running(settings, recipe, stage_seconds=0.02)
    workspace.start()
    yield workspace
    assert workspace.stop() == 0
    left = [name for name, pid in workspace.service_pids().items() if Path(f"/proc/{pid}").exists()]
    assert left == []
