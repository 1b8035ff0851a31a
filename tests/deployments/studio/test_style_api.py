"""Studies of a style over the API: read by name, judged blind."""

import pytest
from fastapi.testclient import TestClient

from flenwheel_core.store import Store
from tests.kit.style_world import MONET, studied_style


@pytest.fixture
def place(store: Store) -> str:
    return f"/api/v1/characters/monet/studies/{studied_style(store).key()}"


def test_a_study_is_shown_and_its_pairs_are_judged(client: TestClient, place: str) -> None:
    assert [one["name"] for one in client.get("/api/v1/characters/monet/studies").json()] == ["monet-t1"]
    study = client.get(place).json()
    assert study["result"]["strength"] in (0.5, 1.0) and len(study["result"]["ways"]) == 4 and study["wins"] == []
    chosen = {"author": "ana", "way": ["base", "monet-t1-v1 at 1"]}
    asked = client.get(f"{place}/pairs", params=chosen).json()
    assert (asked["judged"], asked["total"]) == (0, 3)
    pair = asked["pairs"][0]
    assert set(pair) == {"id", "scene", "first", "second"}, "nothing says which way a picture was drawn in"
    line = {"author": "ana", "pair": pair["id"], "first": pair["first"], "second": pair["second"], "choice": "first"}
    assert client.post(f"{place}/pairs", json=line).status_code == 200
    assert client.get(f"{place}/pairs", params=chosen).json()["judged"] == 1
    (wins,) = client.get(place).json()["wins"]
    assert wins["wins"]["won"] + wins["wins"]["lost"] == 1 and 0 <= wins["low"] < wins["high"] <= 1


def test_photographs_stand_beside_the_ways(client: TestClient, place: str) -> None:
    photos = client.get(place).json()["result"]["photos"]
    page = client.get(f"/styles/monet/{place.rpartition('/')[2]}").text
    row = page.partition('data-testid="photos"')[2].partition("</tfoot>")[0]
    assert "given, not drawn" in row and f"{photos['distance']:.2f}" in row and "-0.30" in row
    assert page.count("<th") - page.count("<thead") > 0 and row.count("<td") + row.count("<th ") == 6, "a cell a column"


def test_what_is_no_pair_or_no_study_is_refused(client: TestClient, place: str) -> None:
    line = {"author": "ana", "pair": "0" * 32, "first": "1" * 64, "second": "2" * 64, "choice": "first"}
    refused = client.post(f"{place}/pairs", json=line)
    assert refused.status_code in (400, 409, 422) and "no pair of this study" in refused.json()["what"]
    assert client.get(f"/api/v1/characters/mira/studies/{place.rpartition('/')[2]}").status_code == 404


def test_the_pages_of_a_style_say_style(client: TestClient, place: str) -> None:
    page = client.get("/characters/monet").text
    assert "2 paintings are kept back" in page and "model card" not in page and f"/styles/{MONET.name}/" in page
    created = client.get("/characters").text
    assert '<option value="style">' in created and 'data-style="yes" value="nano_style"' in created
    body = {"name": "manet", "trigger": "ohwx_style", "class_word": "style", "kind": "style", "recipe": "nano"}
    refused = client.post("/api/v1/characters", json=body)
    assert refused.status_code >= 400 and "no [style] table" in refused.json()["what"]
