"""A gate tells how its LoRA was chosen and which pictures of the pool are doubtful; what a person says there is kept."""

import re

import pytest
from fastapi.testclient import TestClient

from flenwheel_core.base.settings import Settings
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Library
from flenwheel_core.library.choices import Choices
from flenwheel_core.library.doubts import Doubts, trained_on
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.records.exports import champion_export
from flenwheel_core.store import Store
from tests.kit.training_findings import champion_of_states, evidence


@pytest.fixture
def doubtful(store: Store, session: ReviewSession) -> str:
    return Library(store).pool("mira")[0].image.digest


@pytest.fixture
def place(store: Store, reviews: Reviews, session: ReviewSession, doubtful: str) -> str:
    told = session.model_copy(update={"gate": "mira-t1-gate-b-r9", "evidence": evidence(store, doubtful)})
    reviews.open(told)
    return "/api/v1/gates/mira-t1-gate-b-r9"


def test_the_page_shows_both_in_words(client: TestClient, place: str, doubtful: str) -> None:
    page = client.get("/gates/mira-t1-gate-b-r9").text
    assert "1 doubtful picture of the pool" in page and "how mira-t1-v1 was chosen" in page
    assert "12% of what the base got wrong about it was learned" in page and f'data-image="{doubtful}"' in page
    assert "<svg" in page and "it may be over-trained" in page and "evidence.js" in page
    view = client.get(f"{place}/evidence").json()
    assert view["choice"]["taken"] == 0 and view["taken"] is None and view["doubts"][0]["keep"] is None


def test_a_doubtful_picture_is_left_out_and_kept_again(
    client: TestClient, place: str, doubtful: str, store: Store
) -> None:
    before = len(trained_on(store, "mira"))
    for keep, left in ((False, 1), (True, 0)):
        answer = client.post(f"{place}/doubts/{doubtful}", json={"keep": keep, "author": "ana"})
        assert answer.status_code == 200 and answer.json()["doubts"][0]["keep"] is keep
        assert len(trained_on(store, "mira")) == before - left
    assert Doubts(store, "mira").decided()[doubtful].gate == "mira-t1-gate-b-r9"
    assert len(Library(store).pool("mira")) == before, "the pool only grows"
    assert client.post(f"{place}/doubts/{'0' * 64}", json={"keep": False, "author": "ana"}).status_code == 404


def test_another_state_is_taken_and_one_that_was_not_tried_is_refused(
    client: TestClient, place: str, store: Store
) -> None:
    answer = client.post(f"{place}/state", json={"step": 400, "strength": 0.8, "author": "ana", "why": "softer"})
    assert answer.status_code == 200
    assert (answer.json()["taken"]["step"], answer.json()["taken"]["strength"]) == (400, 0.8)
    request, _ = Choices(store, "mira").find()
    assert Choices(store, "mira").standing(request.lora).strength == 0.8
    refused = client.post(f"{place}/state", json={"step": 300, "author": "ana"})
    assert (
        refused.status_code >= 400
        and "tried were: step 200, step 400 at strength 0.8, step 400" in refused.json()["why"]
    )


def test_a_state_taken_in_place_of_the_champion_is_exported(
    client: TestClient, reviews: Reviews, session: ReviewSession, doubtful: str, store: Store, settings: Settings
) -> None:
    champion_of_states(store, settings)
    told = session.model_copy(update={"gate": "mira-t2-gate-a-r1", "evidence": evidence(store, doubtful)})
    reviews.open(told)
    body = {"step": 400, "strength": 0.8, "author": "ana"}
    assert client.post("/api/v1/gates/mira-t2-gate-a-r1/state", json=body).status_code == 200
    champion = Library(store).champion("mira")
    assert champion is not None and champion.lora.strength == 0.8
    assert champion_export(store, "mira")[0].lora == champion.lora


def test_an_answered_gate_takes_neither(client: TestClient, place: str, doubtful: str, reviews: Reviews) -> None:
    reviews.close("mira-t1-gate-b-r9", "stop", "leave_out", override_minimum=True, reviewer="ana")
    for path, body in (("state", {"step": 400}), (f"doubts/{doubtful}", {"keep": False})):
        refused = client.post(f"{place}/{path}", json={**body, "author": "ana"})
        assert refused.status_code >= 400 and "is closed" in refused.json()["what"]


def test_the_page_of_an_answered_gate_offers_neither(client: TestClient, place: str, reviews: Reviews) -> None:
    def offered() -> tuple[int, int, bool]:
        page = client.get("/gates/mira-t1-gate-b-r9").text
        told = page[page.index('<details id="evidence"') : page.index("</details>")]
        controls = re.findall(r"<(?:button|select)[^>]*>", told)
        return len(controls), sum("disabled" in one for one in controls), 'id="evidence-closed" hidden' in told

    assert offered() == (4, 0, True)
    reviews.close("mira-t1-gate-b-r9", "stop", "leave_out", override_minimum=True, reviewer="ana")
    assert offered() == (4, 4, False)


def test_no_picture_is_left_out_that_the_training_needs(
    client: TestClient, place: str, doubtful: str, store: Store
) -> None:
    pool = len(trained_on(store, "mira"))
    nano = load_recipe("nano")
    recipe = nano.model_copy(update={"train": nano.train.model_copy(update={"min_images": pool})})
    Library(store).open_turn("mira", "run-1", store.put_blob(recipe.to_bytes()))
    refused = client.post(f"{place}/doubts/{doubtful}", json={"keep": False, "author": "ana"})
    assert refused.status_code >= 400 and f"would be trained on {pool - 1} pictures only" in refused.json()["what"]
    assert "train.min_images" in refused.json()["why"] and len(trained_on(store, "mira")) == pool
    assert client.post(f"{place}/doubts/{doubtful}", json={"keep": True, "author": "ana"}).status_code == 200


def test_a_gate_without_either_says_so(client: TestClient, session: ReviewSession) -> None:
    assert client.get(f"/api/v1/gates/{session.gate}/evidence").status_code == 404
    assert 'id="evidence"' not in client.get(f"/gates/{session.gate}").text
