"""An installed copy works without the checkout: from an empty folder, a turn comes to its first gate."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.kit.workspace import Running, write_recipe
from flenwheel_core.base.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of a wheel that was built from what git would commit."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    command = [sys.executable, "-W", "ignore", "-c", BUILD, str(folder)]
    subprocess.run(command, cwd=folder / "source", check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_commands_work_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FLENWHEEL_")}
    environment = {**kept, "PYTHONPATH": str(installed), "FLENWHEEL_GPU": "cpu", "COLUMNS": "200"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "deployments.cli.app", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "Wrote flenwheel.toml" in run("init")
    assert "flux_character_24gb" in run("recipe", "show")
    run("recipe", "check", "nano")
    assert "nano" in run("models", "nano")


def test_a_turn_comes_to_its_gate(installed: Path, tmp_path: Path) -> None:
    stand_ins = tmp_path / "stand_ins"
    shutil.copytree(ROOT / "benchmarks" / "kit", stand_ins / "benchmarks" / "kit")
    (stand_ins / "benchmarks" / "__init__.py").touch()
    settings = Settings(
        workspace=tmp_path / "workspace",
        gpu="cpu",
        author="tester",
        stage_modules=("benchmarks.kit.turn_stages",),
        models=tmp_path / "models",
    )
    workspace = Running(settings, write_recipe(tmp_path), code=(installed, stand_ins))
    workspace.start()
    try:
        workspace.add_character("mira")
        workspace.schedule("mira")
        workspace.wait_gate("mira-t1-gate-a-r1")
        worker = Path("/proc", str(workspace.service_pids()["worker"]), "environ").read_text()
        assert f"FLENWHEEL_PROJECT={installed}" in worker
    finally:
        assert workspace.stop() == 0
