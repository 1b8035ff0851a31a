"""Uploads over HTTP: corrections, dropped pictures, new characters."""

import io
import struct

import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageDraw

from flenwheel_core.documents.images import Labels
from flenwheel_core.library.characters import Library
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture
from tests.kit.gate_world import draw

GATE = "/api/v1/gates/mira-t1-gate-a-r1"


@pytest.fixture
def image(client: TestClient) -> str:
    return str(client.get(f"{GATE}/pictures").json()["columns"]["digest"][0])


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_an_uploaded_correction_becomes_the_verdict(client: TestClient, store: Store, image: str) -> None:
    corrected = load_picture(store, image)
    ImageDraw.Draw(corrected).rectangle([25, 20, 45, 40], fill=(200, 40, 40))
    answer = client.post(
        f"{GATE}/pictures/{image}/correction", data={"author": "ana"}, files={"file": ("c.png", png(corrected))}
    )
    assert answer.status_code == 200, answer.text
    taken = answer.json()
    state = taken["states"][-1]
    assert (state["verdict"], state["correction"]) == ("needs_correction", taken["correction"])
    assert client.get(f"/api/v1/pictures/{taken['correction']}/file").status_code == 200
    detail = client.get(f"{GATE}/pictures/{image}").json()
    assert detail["compare"][0] == {"image": taken["correction"], "role": "corrected"}
    lineage = client.get(f"/api/v1/pictures/{taken['correction']}/lineage").json()
    assert lineage["kind"] == "corrected image" and image in [parent["digest"] for parent in lineage["parents"]]
    again = {"id": "again-0001", "author": "ana", "verdict": "needs_correction", "correction": taken["correction"]}
    assert client.post(f"{GATE}/pictures/{image}/decision", json=again).status_code == 200


def test_a_wrong_upload_says_why(client: TestClient, store: Store, image: str) -> None:
    unchanged = client.post(
        f"{GATE}/pictures/{image}/correction", data={"author": "ana"}, files={"file": ("c.png", store.get_blob(image))}
    )
    assert unchanged.status_code == 422 and "unchanged" in unchanged.json()["what"]
    garbage = client.post(
        f"{GATE}/pictures/{image}/correction", data={"author": "ana"}, files={"file": ("c.png", b"x")}
    )
    assert garbage.status_code == 422
    assert client.get(GATE).json()["counts"]["needs_correction"] == 0


def test_a_dropped_picture_is_found_by_its_bytes_or_its_text(client: TestClient, store: Store, image: str) -> None:
    same = client.post("/api/v1/lineage", files={"file": ("x.png", store.get_blob(image))})
    assert same.json()["digest"] == image and same.json()["how"] == "the very file"
    with Image.open(io.BytesIO(store.get_blob(image))) as opened:
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        for key in ("flenwheel.request", "flenwheel.item"):
            text.add_itxt(key, opened.info[key])
        buffer = io.BytesIO()
        opened.convert("L").save(buffer, "PNG", pnginfo=text)
    changed = client.post("/api/v1/lineage", files={"file": ("x.png", buffer.getvalue())})
    assert changed.json()["digest"] == image and "changed since" in changed.json()["how"]
    stranger = client.post("/api/v1/lineage", files={"file": ("x.png", png(Image.new("RGB", (9, 9))))})
    assert stranger.status_code == 404


def test_a_character_begins_in_the_browser(client: TestClient, store: Store) -> None:
    body = {"name": "rex", "trigger": "ohwx_rex", "class_word": "dog", "kind": "subject", "recipe": "nano"}
    assert client.post("/api/v1/characters", json=body).status_code == 200
    files = [png(draw(Labels(), number, 64)) for number in range(3)]
    for number, data in enumerate(files):
        answer = client.post(
            "/api/v1/characters/rex/sources", files={"file": (f"../../{number}.png", data)}, data={"caption": "a dog"}
        )
        assert answer.status_code == 200 and answer.json()["name"] == f"{number}.png"
    refused = client.post("/api/v1/characters/rex/sources", files={"file": ("x.png", b"no picture")})
    assert refused.status_code == 422
    sources = Library(store).sources("rex")
    assert [source.caption for source in sources] == ["a dog"] * 3
    view = client.get("/api/v1/characters/rex").json()
    assert len(view["sources"]) == 3 and view["ingest"]["state"] == "never"
    other = client.post("/api/v1/characters", json={**body, "trigger": "other"})
    assert other.status_code == 422 and "already" in other.json()["what"]
    unknown = client.post("/api/v1/characters", json={**body, "name": "tom", "recipe": "nanoo"})
    assert unknown.status_code == 404 and "nano" in unknown.json()["remedy"]


def test_reading_needs_pictures(client: TestClient) -> None:
    body = {"name": "rex", "trigger": "ohwx_rex", "class_word": "dog", "kind": "subject", "recipe": "nano"}
    client.post("/api/v1/characters", json=body)
    answer = client.post("/api/v1/characters/rex/ingest")
    assert answer.status_code == 422 and "no pictures" in answer.json()["what"]
    assert client.get("/api/v1/characters/nobody/ingest").status_code == 404


def odd_tiff() -> bytes:
    """A second page whose compression nobody knows."""
    page = Image.effect_noise((90, 90), 60).convert("RGB")
    buffer = io.BytesIO()
    page.save(buffer, "TIFF", save_all=True, append_images=[page])
    data = bytearray(buffer.getvalue())
    (first,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<L", data, first + 2 + 12 * count)
    for number in range(count):
        entry = second + 2 + 12 * number
        if struct.unpack_from("<H", data, entry)[0] == 259:
            struct.pack_into("<H", data, entry + 8, 34712)
    return bytes(data)


def test_a_picture_with_an_odd_later_page_is_an_answer_at_every_door(client: TestClient, image: str) -> None:
    fields = {"name": "rex", "trigger": "ohwx_rex", "class_word": "dog", "kind": "subject", "recipe": "nano"}
    client.post("/api/v1/characters", json=fields)
    scan = {"file": ("scan.tif", odd_tiff())}
    assert client.post("/api/v1/characters/rex/sources", files=scan).status_code == 200
    assert client.post("/api/v1/lineage", files=scan).status_code == 404
    correction = client.post(f"{GATE}/pictures/{image}/correction", data={"author": "ana"}, files=scan)
    assert correction.status_code == 422 and "does not show the same scene" in correction.json()["what"]


def test_a_corrections_of_another_size_is_scaled_and_of_another_shape_refused(
    client: TestClient, store: Store, image: str
) -> None:
    corrected = load_picture(store, image)
    ImageDraw.Draw(corrected).rectangle([25, 20, 45, 40], fill=(200, 40, 40))
    where, author = f"{GATE}/pictures/{image}/correction", {"author": "ana"}
    wide = client.post(where, data=author, files={"file": ("c.png", png(corrected.resize((200, 64))))})
    assert wide.status_code == 422 and "200x64; the edit is 64x64" in wide.json()["what"]
    large = client.post(where, data=author, files={"file": ("c.png", png(corrected.resize((128, 128))))})
    assert large.status_code == 200 and large.json()["check"]["resized"], large.text
