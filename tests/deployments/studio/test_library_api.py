"""Characters through the studio's API: what may be called how, and what can be put right before the first turn."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from deployments.studio.app import create_app
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.recipes.loading import DEFAULT_RECIPE
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.store import Store, recent
from tests.kit.gate_world import settings_in
from tests.kit.s3_server import options_of
from tests.kit.studio_world import FIELDS, given


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", "m" * 41, "Use 1 to 40 lowercase letters and digits, with single dashes between them"),
        ("name", "rex-", "such as rex."),
        ("trigger", "TOK", "Use 2 to 40 lowercase letters, digits and underscores, such as tok."),
        ("trigger", "ohwx rex", "such as ohwx_rex."),
        ("class_word", "Dog!", "Use 1 to 40 lowercase letters and spaces, such as dog."),
    ],
)
def test_a_refused_name_is_answered_in_words(client: TestClient, field: str, value: str, said: str) -> None:
    answer = client.post("/api/v1/characters", json={**FIELDS, field: value})
    assert answer.status_code == 422 and said in answer.json()["why"], answer.text
    assert "pattern" not in answer.json()["why"] and "Value error" not in answer.json()["why"]


def test_the_longest_name_is_taken(client: TestClient) -> None:
    assert client.post("/api/v1/characters", json={**FIELDS, "name": "m" * 40}).status_code == 200


def test_an_older_characters_long_name_is_shown_but_starts_no_turn(client: TestClient, store: Store) -> None:
    name = "m" * 63
    store.put_document(f"characters/{name}/character", Character.model_validate({**FIELDS, "name": name}))
    assert client.get(f"/characters/{name}").status_code == 200
    answer = client.post(f"/api/v1/characters/{name}/turns", json={})
    assert answer.status_code == 422 and "cannot be a character's name" in answer.json()["what"]


def test_what_was_given_wrongly_is_put_right_before_the_first_turn(client: TestClient, store: Store) -> None:
    client.post("/api/v1/characters", json={**FIELDS, "trigger": "typo_rex"})
    here = "/api/v1/characters/rex"
    assert client.patch(here, json={"trigger": "ohwx_rex"}).json()["character"] == FIELDS
    assert client.patch(here, json={"trigger": "No!"}).status_code == 422
    assert client.patch(here, json={"recipe": "no-such-recipe"}).status_code in (404, 422)
    red, blue = given(client, "red", "red.png"), given(client, "blue", "blue.png")
    assert client.delete(f"{here}/sources/{red}").status_code == 204
    assert client.delete(f"{here}/sources/{red}").status_code == 404
    assert client.get(here).json()["sources"] == [blue]
    assert client.delete(here).status_code == 204
    assert client.get(here).status_code == 404
    assert client.post("/api/v1/characters", json=FIELDS).json()["sources"] == []
    Library(store).open_turn("rex", "run-1", "0" * 64)
    assert client.patch(here, json={"trigger": "other_rex"}).status_code == 422
    refused = client.delete(here)
    assert refused.status_code == 422 and "has had a turn" in refused.json()["what"]


def test_taking_back_needs_the_csrf_token(client: TestClient) -> None:
    client.post("/api/v1/characters", json=FIELDS)
    for method in ("DELETE", "PATCH"):
        assert client.request(method, "/api/v1/characters/rex", headers={"x-csrf-token": ""}).status_code == 403


def test_the_page_offers_the_recipe_that_the_command_takes(client: TestClient) -> None:
    page = client.get("/characters").text
    assert f'value="{DEFAULT_RECIPE}" selected>' in page and page.count(" selected>") == 1


@pytest.mark.slow
def test_what_another_machine_made_a_moment_ago_has_its_page_and_spoils_no_list(
    s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "FRESH_SECONDS", 1000.0)
    options = options_of(s3_endpoint)
    place = {"store": f"s3://flenwheel/{tmp_path.name}", "store_options": options}
    settings = settings_in(tmp_path).model_copy(update=place)
    here, elsewhere = Store(settings.store_url, options), Library(Store(settings.store_url, options))
    elsewhere.create_character(Character.model_validate({**FIELDS, "name": "old"}))
    with TestClient(create_app(settings, None), base_url="http://127.0.0.1:8000") as client:
        client.headers["x-csrf-token"] = client.get("/api/v1/session").json()["csrf"]
        listed = client.get("/api/v1/characters")
        assert [one["character"]["name"] for one in listed.json()] == ["old"]
        elsewhere.create_character(Character.model_validate(FIELDS))
        elsewhere.add_sources("rex", (SourceFile(name="a.png", digest=here.put_blob(b"picture")),))
        elsewhere.open_turn("rex", "00000000-0000-4000-8000-000000000001", "0" * 64)
        for path in ("/api/v1/characters", "/api/v1/characters/rex", "/characters/rex", "/api/v1/turns/rex/1"):
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text)
        found = client.get("/api/v1/characters/rex").json()
        assert (found["turns"], found["ingest"]["files"]) == (1, 1)
        assert client.post("/api/v1/characters", json=FIELDS).status_code == 200, "the same one again"
        assert client.get("/api/v1/characters/nobody").status_code == 404
        assert client.get("/api/v1/turns/rex/2").status_code == 404


def test_a_page_past_the_end_does_not_say_that_there_is_nothing(client: TestClient, store: Store) -> None:
    assert "No turn yet" in client.get("/turns").text
    Library(store).open_turn("mira", "run-1", "0" * 64)
    for path, nothing in (("/turns", "No turn yet"), ("/characters", "No character yet")):
        page = client.get(path, params={"offset": 1000}).text
        assert nothing not in page and "1 to 1 of 1" in page and "← Back" in page
        assert nothing not in client.get(path).text
