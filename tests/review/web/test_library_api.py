"""Characters through the studio's API: what may be called how."""

import pytest
from fastapi.testclient import TestClient

from flenwheel_core.library import Character
from flenwheel_core.store import Store

FIELDS = {"name": "rex", "trigger": "ohwx_rex", "class_word": "dog", "kind": "subject", "recipe": "nano"}


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
