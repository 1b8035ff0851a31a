"""`flenwheel up` with stand-in stages, and its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.kit.workspace import Running, write_recipe
from flenwheel_core.base.settings import Settings


@contextmanager
def running_workspace(folder: Path, database: Path, *, import_ahead: bool) -> Iterator[Running]:
    """With `import_ahead` stages are forked from a process that has imported torch and more, as a user's are: ten seconds of a core for
    each run that is begun, and the stand-ins need none of it."""
    recipe = write_recipe(folder)
    settings = Settings(
        workspace=folder / "workspace",
        gpu="cpu",
        author="tester",
        stage_modules=("benchmarks.kit.turn_stages", "tests.kit.editor_stages", "tests.kit.captioner_stages"),
        models=folder / "models",
        service_recipe=str(recipe),
        publish_url=(folder / "published").as_uri(),
        import_ahead=import_ahead,
    )
    workspace = Running(settings, recipe, stage_seconds=0.02, database=database)
    workspace.start()
    yield workspace
    assert workspace.stop() == 0
    left = [name for name, pid in workspace.service_pids().items() if Path(f"/proc/{pid}").exists()]
    assert left == []
