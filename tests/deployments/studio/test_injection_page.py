"""The injected preview on a character's page: there once it was drawn, with the sentence that says whether it works."""

from fastapi.testclient import TestClient

from flenwheel_core.documents.images import Sampler
from flenwheel_core.library.injections import Injections
from flenwheel_core.requests.inject import (
    InjectionGrid,
    InjectionIdentity,
    InjectionPhoto,
    InjectionPrompt,
    InjectRequest,
    InjectResult,
)
from flenwheel_core.store import Store


def test_a_preview_stands_on_the_page(client: TestClient, store: Store) -> None:
    body = {"name": "ada", "trigger": "ohwx_char", "class_word": "person", "kind": "subject", "recipe": "nano"}
    assert client.post("/api/v1/characters", json=body).status_code < 400
    assert "before any LoRA" not in client.get("/characters/ada").text
    request = InjectRequest(
        identities=(InjectionIdentity(name="ada", photos=(InjectionPhoto(image="a" * 64),)),),
        features="nano",
        base="nano",
        head="b" * 64,
        prompts=(InjectionPrompt(text="a person"),),
        alphas=(1.0,),
        seeds=(1,),
        sampler=Sampler(width=128, height=128),
    )
    grid = InjectionGrid(identity="ada", picture="c" * 64)
    result = InjectResult(images="d" * 64, cells=(), figures=(), grids=(grid,), verdict="Does not work, by much.")
    store.put_request(request)
    store.put_result(request, result)
    Injections(store).add_preview("ada", request)
    page = client.get("/characters/ada").text
    assert "before any LoRA" in page and "Does not work, by much." in page
    assert f"/api/v1/pictures/{'c' * 64}/thumbnail/1280" in page
