"""`flenwheel models`: what a recipe needs and what is here; fetching says size, licence and gate first, and takes only what is needed."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flenwheel_core.identity.people_weights import PEOPLE_FILES
from flenwheel_core.models.known_models import KNOWN_MODELS
from flenwheel_core.models.pinning import ROLES
from flenwheel_core.models.references import hub_reference
from flenwheel_core.recipes.loading import find_recipe, list_recipes, load_recipe
from tests.kit.faces import needs_people_weights
from tests.kit.hub import Hub, Repository, running_hub

NO_TENSORS = (2).to_bytes(8, "little") + b"{}"
WHOLE = {"config.json": b"{}", "model.safetensors": NO_TENSORS, "model.fp16.safetensors": NO_TENSORS, "README.md": b"x"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as found:
        yield found


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    text = find_recipe("nano").read_text().replace('base = "nano"', 'base = "a/base@main"')
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('editor = "nano"', 'editor = "a/editor@main"'))
    return path


def flenwheel(tmp_path: Path, endpoint: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "FLENWHEEL_WORKSPACE": str(tmp_path / "workspace"),
        "FLENWHEEL_MODELS": str(tmp_path / "models"),
        "FLENWHEEL_GPU": "cpu",
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "COLUMNS": "200",
        **more,
    }
    command = [sys.executable, "-m", "deployments.cli.app", *arguments]
    return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)


def test_models_are_shown_and_then_fetched(hub: Hub, tmp_path: Path, recipe: Path) -> None:
    hub.models["a/base"] = Repository(WHOLE, licence="apache-2.0")
    hub.models["a/editor"] = Repository(WHOLE | {"config.json": b'{"a": 1}'}, gated=True)
    shown = flenwheel(tmp_path, hub.url, "models", str(recipe))
    assert (
        shown.returncode == 1
        and "a/base@main (base)" in shown.stdout
        and "apache-2.0, commercial use allowed; not here" in shown.stdout
    )
    assert "free disk" in shown.stdout.lower() and f"models fetch {recipe}" in shown.stdout

    refused = flenwheel(tmp_path, hub.url, "models", "fetch", str(recipe))
    assert refused.returncode == 1 and "gated" in refused.stderr and "hf auth login" in refused.stderr
    assert "model.safetensors" not in hub.sent

    hub.models["a/editor"].gated = False
    fetched = flenwheel(tmp_path, hub.url, "models", "fetch", str(recipe))
    assert fetched.returncode == 0, fetched.stderr
    assert set(hub.sent) == {"config.json", "model.safetensors"}

    hub.sent.clear()
    assert flenwheel(tmp_path, hub.url, "models", "fetch", str(recipe)).returncode == 0 and not hub.sent
    without_network = flenwheel(tmp_path, "http://127.0.0.1:9", "models", str(recipe))
    assert without_network.returncode == 0 and "All of them are here" in without_network.stdout


def test_pictures_are_looked_at_without_network_whatever_the_base_and_editor_are(tmp_path: Path, recipe: Path) -> None:
    from flenwheel_core.nano.sheets import character_sheet

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    character_sheet(1_000_003).save(pictures / "a.png")
    done = flenwheel(tmp_path, "http://127.0.0.1:9", "ingest", "mira", "pictures", "--recipe", str(recipe))
    assert "1 usable" in done.stdout and done.returncode == 1 and "error" not in done.stderr, done.stderr


def test_a_captioner_can_be_left_out_and_pictures_are_read_without_it(hub: Hub, tmp_path: Path) -> None:
    from flenwheel_core.nano.sheets import character_sheet

    hub.models["a/base"], hub.models["a/eyes"] = Repository(WHOLE), Repository(WHOLE | {"config.json": b'{"b": 2}'})
    text = find_recipe("nano").read_text()
    for use, name in (("base", "base"), ("editor", "base"), ("captioner", "eyes")):
        text = text.replace(f'{use} = "nano"', f'{use} = "a/{name}@main"')
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    wrong = flenwheel(tmp_path, hub.url, "models", "fetch", str(mine), "--without", "eyes")
    assert wrong.returncode == 1 and "captioner" in wrong.stderr and not hub.sent["model.safetensors"]
    done = flenwheel(tmp_path, hub.url, "models", "fetch", str(mine), "--without", "captioner", "--without", "editor")
    assert done.returncode == 0, done.stderr
    assert "a/base@main is fetched all the same: it is the base too" in done.stdout
    assert "Left out: a/eyes@main (captioner)" in done.stdout and "template" in done.stdout
    shown = flenwheel(tmp_path, hub.url, "models", str(mine))
    assert shown.returncode == 0 and "left out here" in shown.stdout

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    character_sheet(1_000_003).save(pictures / "a.png")
    read = flenwheel(tmp_path, "http://127.0.0.1:9", "ingest", "mira", "pictures", "--recipe", str(mine))
    assert "1 usable" in read.stdout and "1 of 1 pictures have no caption" in read.stdout, read.stderr

    before = hub.sent["model.safetensors"]
    code = f"from deployments.cli.models import fetch_wanted; fetch_wanted({str(mine)!r})"
    place = {"FLENWHEEL_MODELS": str(tmp_path / "models"), "FLENWHEEL_WORKSPACE": str(tmp_path / "workspace")}
    joined = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **place, "HF_ENDPOINT": hub.url},
        capture_output=True,
        text=True,
    )
    assert "Left out: a/eyes@main (captioner)" in joined.stdout, joined.stderr
    assert hub.sent["model.safetensors"] == before, "a machine that joins does not bring back what was left out"

    again = flenwheel(tmp_path, hub.url, "models", "fetch", str(mine))
    assert again.returncode == 0 and "All models of this recipe are here" in again.stdout


def test_a_machine_fetches_before_it_asks_a_server_for_work(hub: Hub, tmp_path: Path, recipe: Path) -> None:
    hub.models["a/base"], hub.models["a/editor"] = Repository(WHOLE), Repository(WHOLE | {"config.json": b'{"a": 1}'})
    had: list[set[str]] = []

    class Server(BaseHTTPRequestHandler):
        """Asked, and never of use."""

        def do_POST(self) -> None:
            had.append(set(hub.sent))
            self.send_error(404)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    asked = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=asked.serve_forever)
    thread.start()
    try:
        url, place = f"http://127.0.0.1:{asked.server_port}", {"FLENWHEEL_STORE": str(tmp_path / "store")}
        no_recipe = flenwheel(tmp_path, hub.url, "up", "--join", url, "--fetch", "none-such", **place)
        assert no_recipe.returncode == 1 and "none-such" in no_recipe.stderr
        no_store = flenwheel(tmp_path, hub.url, "up", "--join", url, "--fetch", str(recipe))
        assert no_store.returncode == 1 and "FLENWHEEL_STORE is not set" in no_store.stderr
        assert not hub.sent and not had, "neither is found out after the models came"
        refused = flenwheel(tmp_path, hub.url, "up", "--join", url, "--fetch", str(recipe), **place)
    finally:
        asked.shutdown()
        thread.join()
        asked.server_close()
    assert refused.returncode == 1 and "All models of this recipe are here." in refused.stdout
    assert had and all(files == {"config.json", "model.safetensors"} for files in had)


def test_fetching_is_for_a_machine_that_joins(tmp_path: Path, recipe: Path) -> None:
    refused = flenwheel(tmp_path, "http://127.0.0.1:9", "up", "--fetch", str(recipe))
    assert refused.returncode == 1 and f"flenwheel models fetch {recipe}" in refused.stderr


def test_every_hub_model_of_a_shipped_recipe_is_known_for_when_the_hub_is_silent() -> None:
    for name in list_recipes():
        for use in ROLES:
            found = hub_reference(getattr(load_recipe(name).models, use) or "")
            assert found is None or KNOWN_MODELS[found[0]].size_bytes > 10**9


def test_doctor_names_models_that_are_not_here_and_fetches_none(hub: Hub, tmp_path: Path, recipe: Path) -> None:
    hub.models["a/base"] = Repository(WHOLE)
    found = flenwheel(tmp_path, hub.url, "doctor", "--recipe", str(recipe))
    assert "weights not here: a/base@main, a/editor@main" in found.stdout and not hub.sent


@needs_people_weights
def test_weights_for_people_that_are_here_are_named_and_not_fetched_again(tmp_path: Path) -> None:
    done = flenwheel(tmp_path, "http://127.0.0.1:9", "models", "people")
    assert done.returncode == 0, done.stderr
    for file in PEOPLE_FILES:
        assert file.name in done.stdout and file.package in done.stdout
