"""The studio on a disk that is full or read-only: pictures are shown, nothing is half written, and every refusal says why."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from deployments.studio.app import create_app
from deployments.studio.studio import open_studio
from flenwheel_core.store import Store
from tests.kit.disks import Disk, small_disk
from tests.kit.gate_world import open_gate, settings_in

GATE = "/api/v1/gates/mira-t1-gate-a-r1"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """The disk of a whole workspace."""
    with small_disk(tmp_path / "disk", "4m") as found:
        yield found


@pytest.fixture
def client(disk: Disk) -> Iterator[TestClient]:
    settings = settings_in(disk.folder)
    open_gate(Store(settings.store_url), 3, side=64)
    with TestClient(create_app(settings, None), base_url="http://127.0.0.1:8000") as found:
        found.headers["x-csrf-token"] = found.get("/api/v1/session").json()["csrf"]
        yield found


def changes(client: TestClient) -> dict[str, Callable[[], httpx.Response]]:
    """Everything that writes."""
    image = client.get(f"{GATE}/pictures").json()["columns"]["digest"][0]
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 60).convert("RGB").save(buffer, "PNG")
    picture = {"file": ("new.png", buffer.getvalue(), "image/png")}
    rex = {"name": "rex", "trigger": "ohwx_rex", "class_word": "dog", "kind": "subject", "recipe": "nano"}
    large = "caption " * 500
    return {
        "decide": lambda: client.post(
            f"{GATE}/pictures/{image}/decision",
            json={"id": "ana-00002", "author": "ana", "verdict": "good", "caption": large},
        ),
        "undo": lambda: client.post(f"{GATE}/undo", json={"id": "undo-00001", "author": "ana"}),
        "character": lambda: client.post("/api/v1/characters", json=rex),
        "source": lambda: client.post("/api/v1/characters/mira/sources", files=picture),
        "finish": lambda: client.post(f"{GATE}/finish", json={"author": "ana", "verdict": "stop"}),
    }


def decide_first(client: TestClient) -> str:
    image = str(client.get(f"{GATE}/pictures").json()["columns"]["digest"][0])
    body = {"id": "ana-00001", "author": "ana", "verdict": "good"}
    assert client.post(f"{GATE}/pictures/{image}/decision", json=body).status_code == 200
    return image


@pytest.mark.parametrize(("trouble", "status", "said"), [("fill", 507, "The disk is full"), ("lock", 503, "read-only")])
def test_every_change_is_refused_in_words_and_every_picture_shown(
    disk: Disk, client: TestClient, trouble: str, status: int, said: str
) -> None:
    image = decide_first(client)
    (disk.fill if trouble == "fill" else disk.lock)()
    for name, change in changes(client).items():
        answer = change()
        if name == "undo" and answer.status_code == 200 and trouble == "fill":
            continue  # Its line is so short that it fits beside the line before it.
        assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text}"
        assert said in answer.json()["what"] and answer.json()["remedy"], name
    for path in (f"/api/v1/pictures/{image}/thumbnail/320", f"{GATE}/pictures/{image}", "/", f"/pictures/{image}"):
        assert client.get(path).status_code == 200, path
    assert [
        path for path in disk.folder.rglob("*") if path.name.startswith(".tmp") or "studio-secret-" in path.name
    ] == []
    (disk.free if trouble == "fill" else disk.unlock)()
    for name, change in changes(client).items():
        assert change().status_code == 200, name
    assert client.get(f"/api/v1/pictures/{image}/thumbnail/320").status_code == 200
    assert list((disk.folder / "cache" / "thumbnails" / "320").rglob("*.webp")), "kept by now"


@pytest.mark.parametrize("trouble", ["fill", "lock"])
def test_a_studio_starts_on_such_a_disk_and_its_secret_is_not_empty(disk: Disk, trouble: str) -> None:
    settings = settings_in(disk.folder)
    (disk.fill if trouble == "fill" else disk.lock)()
    assert len(open_studio(settings, None).secret) == 64
    assert not (disk.folder / "studio-secret").exists()
    (disk.free if trouble == "fill" else disk.unlock)()
    kept = open_studio(settings, None).secret
    assert open_studio(settings, None).secret == kept
    (disk.folder / "studio-secret").write_text("")
    assert len(open_studio(settings, None).secret) == 64, "an empty one of an older version guards nothing"
