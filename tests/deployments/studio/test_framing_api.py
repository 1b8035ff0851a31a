"""Framings through the studio's API: only of pictures that are there, only rectangles that can be."""

import pytest
from fastapi.testclient import TestClient

from flenwheel_core.library.characters import Library
from flenwheel_core.store import Store
from tests.kit.studio_world import FIELDS, given

HALF = {"left": 0, "top": 0, "right": 0.5, "bottom": 1}


@pytest.fixture
def here(client: TestClient) -> str:
    assert client.post("/api/v1/characters", json=FIELDS).status_code == 200
    return f"/api/v1/characters/rex/sources/{given(client, 'red', 'red.png')}/framing"


def test_a_framing_is_kept_shown_and_taken_back(client: TestClient, store: Store, here: str) -> None:
    assert client.get(here).json() == {
        "file": "red.png",
        "framing": {"crop": None, "hidden": []},
        "by": "nobody",
        "faces": [],
    }
    answer = client.post(here, json={"framing": {"crop": HALF, "hidden": [HALF]}})
    assert answer.status_code == 200 and answer.json()["by"] == "person", answer.text
    assert Library(store).sources("rex")[0].framing is not None
    assert "framed by you; read the pictures again" in client.get("/characters/rex").text
    assert client.post(here, json={"framing": None}).json()["by"] == "nobody"
    assert "framed by you" not in client.get("/characters/rex").text


@pytest.mark.parametrize(
    "framing",
    [
        {"crop": {**HALF, "right": 0}},
        {"crop": {**HALF, "right": 1.2}},
        {"hidden": [HALF] * 33},
        {"crop": HALF, "zoom": 2},
    ],
)
def test_impossible_rectangles_are_refused(client: TestClient, here: str, framing: dict[str, object]) -> None:
    answer = client.post(here, json={"framing": framing})
    assert answer.status_code == 422 and "Value error" not in answer.text
    assert client.get(here).json()["by"] == "nobody"


def test_a_picture_that_was_not_given_has_none(client: TestClient, here: str) -> None:
    other = here.replace(here.split("/")[-2], "b" * 64)
    assert client.get(other).status_code == 404
    assert client.post(other, json={"framing": None}).status_code == 404
