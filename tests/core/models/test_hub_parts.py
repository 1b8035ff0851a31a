"""Large files that broke off, by the real client against a server on loopback: gone on with by their bytes, compared at their end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import pytest

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.hub import ask_hub, fetch, find_here
from flenwheel_core.models.hub_file import HubFile, ask_file, fetch_asked
from flenwheel_core.models.hub_parts import part_path
from tests.kit.hub import Hub, Repository, running_hub, sha256

ID = "somebody/large"
CONFIG = b"{}"
NAME = "model.safetensors"
PIECE = 64 << 10


def weights(size: int) -> bytes:
    """A safetensors file of one tensor."""
    header = json.dumps({"x": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + bytes(range(250)) * (size // 250)


WEIGHTS = weights(1_000_000)
OTHER = WEIGHTS[:-1000] + bytes(1000)
FETCH = """
import sys
from flenwheel_core.base.settings import Settings
from flenwheel_core.models.hub import ask_hub, fetch
settings = Settings(models=sys.argv[1])
fetch(ask_hub("somebody/large", "main", settings), settings)
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as found:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", found.url)
        template = found.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", PIECE)
        # The client tries a broken connection five times more, a second apart.
        monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda _: None))
        found.models[ID] = Repository({"config.json": CONFIG, NAME: WEIGHTS})
        yield found


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"models": tmp_path / "models"})


def repository(settings: Settings) -> Path:
    return settings.models / "hub" / "models--somebody--large"


def part(settings: Settings, data: bytes = WEIGHTS) -> Path:
    return part_path(repository(settings), sha256(data))


def break_off(hub: Hub, settings: Settings, after: int) -> int:
    """A fetch that ends early; the bytes that arrived."""
    hub.models[ID].break_after = after
    with pytest.raises(MissingWeightsError, match="what arrived is kept"):
        fetch(ask_hub(ID, "main", settings), settings)
    hub.models[ID].break_after = None
    hub.sent.clear()
    assert find_here(ID, "main", settings) is None
    return part(settings).stat().st_size


def test_a_file_goes_on_after_the_bytes_that_arrived(hub: Hub, settings: Settings) -> None:
    arrived = break_off(hub, settings, 700_000)
    assert 700_000 - PIECE < arrived <= 700_000
    rest = ask_hub(ID, "main", settings)
    assert rest.remaining_bytes == len(WEIGHTS) - arrived + len(CONFIG)
    folder = fetch(rest, settings)
    assert hub.sent[NAME] == len(WEIGHTS) - arrived
    assert (folder / NAME).read_bytes() == WEIGHTS
    assert not part(settings).exists() and find_here(ID, "main", settings) == folder
    hub.sent.clear()
    fetch(ask_hub(ID, "main", settings), settings)
    assert hub.sent[NAME] == 0


def test_it_breaks_off_twice(hub: Hub, settings: Settings) -> None:
    first = break_off(hub, settings, 300_000)
    second = break_off(hub, settings, 300_000)
    assert second > first + 200_000
    assert (fetch(ask_hub(ID, "main", settings), settings) / NAME).read_bytes() == WEIGHTS
    assert hub.sent[NAME] == len(WEIGHTS) - second


def test_a_changed_file_begins_anew_and_what_was_begun_goes(hub: Hub, settings: Settings) -> None:
    break_off(hub, settings, 700_000)
    hub.models[ID] = Repository({"config.json": CONFIG, NAME: OTHER}, commit="d" * 40)
    model = ask_hub(ID, "main", settings)
    assert model.remaining_bytes >= len(OTHER)
    assert (fetch(model, settings) / NAME).read_bytes() == OTHER
    assert hub.sent[NAME] == len(OTHER)
    assert not part(settings).exists()


def test_a_server_that_knows_no_ranges_begins_anew(hub: Hub, settings: Settings) -> None:
    break_off(hub, settings, 700_000)
    hub.models[ID].ranges = False
    assert (fetch(ask_hub(ID, "main", settings), settings) / NAME).read_bytes() == WEIGHTS
    assert hub.sent[NAME] == len(WEIGHTS)


def test_damage_in_what_arrived_is_found_at_the_end(hub: Hub, settings: Settings) -> None:
    break_off(hub, settings, 700_000)
    with part(settings).open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(MissingWeightsError, match="arrived damaged"):
        fetch(ask_hub(ID, "main", settings), settings)
    assert (fetch(ask_hub(ID, "main", settings), settings) / NAME).read_bytes() == WEIGHTS


def test_a_part_that_is_too_long_begins_anew(hub: Hub, settings: Settings) -> None:
    part(settings).parent.mkdir(parents=True)
    part(settings).write_bytes(WEIGHTS + b"more")
    assert (fetch(ask_hub(ID, "main", settings), settings) / NAME).read_bytes() == WEIGHTS


def test_a_damaged_file_is_found_though_the_fetch_was_killed_before_it_was_compared(
    hub: Hub, settings: Settings
) -> None:
    folder = fetch(ask_hub(ID, "main", settings), settings)
    for receipt in (repository(settings) / "flenwheel").glob("*.json"):
        receipt.unlink()
    (folder / NAME).resolve().write_bytes(OTHER)
    with pytest.raises(MissingWeightsError, match="arrived damaged"):
        fetch(ask_hub(ID, "main", settings), settings)


def test_a_single_file_goes_on_too(hub: Hub, settings: Settings) -> None:
    arrived = break_off(hub, settings, 700_000)
    asked = ask_file(HubFile(ID, "main", NAME), settings)
    assert asked.remaining_bytes == len(WEIGHTS) - arrived
    assert fetch_asked(asked, settings).read_bytes() == WEIGHTS
    assert hub.sent[NAME] == len(WEIGHTS) - arrived


def test_two_at_once_fetch_it_once(hub: Hub, settings: Settings) -> None:
    hub.models[ID].seconds_a_piece = 0.5
    model = ask_hub(ID, "main", settings)
    threads = [threading.Thread(target=fetch, args=(model, settings)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert find_here(ID, "main", settings) is not None
    assert hub.sent[NAME] == len(WEIGHTS)


@pytest.mark.slow
def test_a_killed_process_is_gone_on_from(hub: Hub, settings: Settings) -> None:
    large = weights(30_000_000)
    hub.models[ID] = Repository({"config.json": CONFIG, NAME: large}, seconds_a_piece=0.2)
    environment = {**os.environ, "HF_ENDPOINT": hub.url}
    command = [sys.executable, "-c", FETCH, str(settings.models)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        begun = part(settings, large)
        end = time.monotonic() + 60
        while not (begun.exists() and begun.stat().st_size) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    arrived = begun.stat().st_size
    assert 0 < arrived < len(large)
    hub.sent.clear()
    hub.models[ID].seconds_a_piece = 0
    model = ask_hub(ID, "main", settings)
    assert model.remaining_bytes == len(large) - arrived + len(CONFIG)
    assert (fetch(model, settings) / NAME).read_bytes() == large
    assert hub.sent[NAME] == len(large) - arrived
