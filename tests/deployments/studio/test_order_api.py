"""The training service through its API: what is taken, what is refused, and what an order says of itself."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from deployments.studio.app import create_app
from deployments.studio.drop_in import SOURCE_LIMITS
from deployments.studio.order_models import LONGEST_PICTURE
from deployments.studio.security import MAXIMUM_UPLOAD_BYTES
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.orders import OrderedFile, OrderEnded
from flenwheel_core.library.orders import MOST_STARTS, Orders
from flenwheel_core.store import Store
from tests.kit.studio_world import Server


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(settings: Settings, server: Server) -> Iterator[TestClient]:
    """A program with a flow server behind the studio."""
    with TestClient(create_app(settings, server), base_url="http://127.0.0.1:8000") as found:
        found.headers["x-csrf-token"] = found.get("/api/v1/session").json()["csrf"]
        yield found


PLACE = "/api/v1/train-lora"


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 255 - number, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def body(pictures: int = 12, **more: object) -> dict[str, object]:
    data = [
        {"image": base64.b64encode(png(number)).decode(), "description": f"a photo, {number}"}
        for number in range(pictures)
    ]
    return {"train_data": data, "user_id": 123, "rank": 16, "alpha": 16, "learning_rate": 1e-4, "epochs": 1,
            "batch_size": 1, "recipe": "nano", **more}  # fmt: skip


def test_an_order_of_the_documents_form_is_accepted_kept_and_handed_over(
    client: TestClient, store: Store, server: Server
) -> None:
    answer = client.post(PLACE, json=body())
    assert answer.status_code == 202, answer.text
    view = answer.json()
    assert answer.headers["location"] == view["location"] == f"{PLACE}/{view['id']}" and view["user_id"] == "123"
    order = Orders(store).get(view["id"]).order
    assert (order.rank, order.epochs, order.recipe) == (16, 1, "nano") and len(order.pictures) == 12
    assert store.get_blob(order.pictures[3].image) == png(3) and order.pictures[3].description == "a photo, 3"
    assert server.started == [view["id"]]
    assert client.post(PLACE, json=body()).json()["id"] == view["id"], "the same content is the same order"


def test_digests_data_urls_and_training_params_are_taken_too(client: TestClient, store: Store) -> None:
    data = [{"image": store.put_blob(png(number))} for number in range(11)]
    data.append({"image": "data:image/png;base64," + base64.b64encode(png(77)).decode()})
    asked = {"train_data": data, "training_params": {"steps": 5, "rank": 4}, "recipe": "nano"}
    view = client.post(PLACE, json=asked).json()
    order = Orders(store).get(view["id"]).order
    assert (order.steps, order.rank) == (5, 4) and store.get_blob(order.pictures[11].image) == png(77)


def test_what_an_order_leaves_out_follows_its_kind(client: TestClient, store: Store) -> None:
    asked = body(24, kind="style", recipe="nano_style")
    order = Orders(store).get(client.post(PLACE, json=asked).json()["id"]).order
    assert (order.trigger, order.class_word) == ("ohwx_style", "style"), "nobody orders the style of a person's face"
    plain = Orders(store).get(client.post(PLACE, json=body()).json()["id"]).order
    assert (plain.trigger, plain.class_word) == ("ohwx_char", "person")
    own = body(24, kind="style", recipe="nano_style", trigger="monet", class_word="painting")
    order = Orders(store).get(client.post(PLACE, json=own).json()["id"]).order
    assert (order.trigger, order.class_word) == ("monet", "painting")


def test_files_are_taken_as_a_form(client: TestClient, store: Store) -> None:
    files = [("images", (f"{number}.png", png(number), "image/png")) for number in range(12)]
    said = json.dumps({"user_id": "ana", "steps": 3, "recipe": "nano", "descriptions": ["first", "second"]})
    answer = client.post(PLACE, files=files, data={"order": said})
    assert answer.status_code == 202, answer.text
    order = Orders(store).get(answer.json()["id"]).order
    assert [picture.description for picture in order.pictures[:3]] == ["first", "second", ""]
    assert [store.get_blob(picture.image) for picture in order.pictures] == [png(number) for number in range(12)]


def test_one_key_is_one_order(client: TestClient, server: Server) -> None:
    def post(key: str, **more: object) -> tuple[int, dict[str, str]]:
        answer = client.post(PLACE, json=body(**more), headers={"idempotency-key": key})
        return answer.status_code, answer.json()

    first, again, other = post("one"), post("one"), post("two")
    assert first == again and other[1]["id"] != first[1]["id"]
    status, problem = post("one", rank=8)
    assert status == 422 and "idempotency key" in problem["what"]
    assert post("one", user_id=124)[1]["id"] != first[1]["id"], "keys of other users are other keys"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_data": []}, "train_data"),
        ({"train_data": [{"image": "https://example.com/a.png"}] * 12}, "addresses are not fetched"),
        ({"train_data": [{"image": "not base64!"}] * 12}, "neither base64 nor a digest"),
        ({"train_data": [{"image": base64.b64encode(b"no picture").decode()}] * 12}, "picture 1"),
        ({"train_data": [{"image": "f" * 64}] * 12}, "There is no file"),
        ({"train_data": [{"image": "aGk="}] * 101}, "train_data"),
        ({"rank": 0}, "rank"),
        ({"epochs": 2, "steps": 4}, "epochs or steps"),
        ({"learning_rate": 9.0}, "far too high"),
        ({"recipe": "/etc/passwd"}, "recipe"),
        ({"recipe": "nothing"}, "no recipe"),
        ({"user_id": ["x"]}, "user_id"),
        ({"webhook": "https://example.com"}, "webhook"),
    ],
)
def test_what_cannot_be_ordered_is_refused_in_words_and_not_kept(
    client: TestClient, store: Store, server: Server, change: dict[str, object], said: str
) -> None:
    answer = client.post(PLACE, json=body(**change))
    assert 400 <= answer.status_code < 500, answer.text
    assert said in answer.text and Orders(store).open_orders() == {} and server.started == []


def test_too_few_pictures_and_no_json_are_refused(client: TestClient) -> None:
    assert "too few" in client.post(PLACE, json=body(3)).text
    for content in (b"", b"[]", b"{", b"\xff"):
        answer = client.post(PLACE, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 422, answer.text
    files = [("images", ("a.png", png(1), "image/png"))]
    for said in ("[]", "{", '{"descriptions": ["a", "b"]}', "[" * 100_000):
        assert client.post(PLACE, files=files, data={"order": said}).status_code == 422


def test_the_page_names_the_limits_that_are_kept() -> None:
    page = (Path(__file__).parents[3] / "docs" / "service.md").read_text()
    request, picture = MAXIMUM_UPLOAD_BYTES // 2**20, LONGEST_PICTURE // 2**20
    assert (
        f"{request} MiB a request, which is {request * 3 // 4} MiB of pictures in base64; {picture} MiB a picture"
        in page
    )
    assert SOURCE_LIMITS.maximum_bytes == LONGEST_PICTURE


def test_a_request_beyond_the_limit_is_refused_in_words(client: TestClient, store: Store) -> None:
    large = b"[" * (MAXIMUM_UPLOAD_BYTES + 1)
    answer = client.post(PLACE, content=large, headers={"content-type": "application/json"})
    assert answer.status_code == 413 and answer.json()["what"] == "This request is too large."
    assert answer.json()["remedy"] == f"Up to {MAXIMUM_UPLOAD_BYTES // 2**20} MiB are taken at once."
    assert Orders(store).open_orders() == {}


def test_a_picture_beyond_the_limit_is_refused_in_words(client: TestClient, store: Store, server: Server) -> None:
    """It is a whole picture with bytes behind it: without a limit it would be taken."""
    files = [("images", (f"{number}.png", png(number), "image/png")) for number in range(11)]
    files.append(("images", ("large.png", png(11) + bytes(LONGEST_PICTURE), "image/png")))
    answer = client.post(PLACE, files=files, data={"order": json.dumps({"recipe": "nano"})})
    assert answer.status_code == 422, answer.text
    assert answer.json()["what"] == f"picture 12 is too large: {LONGEST_PICTURE // 2**20} MiB."
    assert f"files above {LONGEST_PICTURE // 2**20} MiB are not opened" in answer.json()["why"]
    assert Orders(store).open_orders() == {} and server.started == []


def test_an_order_is_kept_while_the_server_is_away(client: TestClient, store: Store, server: Server) -> None:
    server.down = True
    answer = client.post(PLACE, json=body())
    assert answer.status_code == 202 and answer.json()["state"] == "queued"
    assert Orders(store).open_orders() == {answer.json()["id"]: False}


def test_states_follow_the_run_and_the_end_stands(client: TestClient, store: Store, server: Server) -> None:
    id_ = client.post(PLACE, json=body()).json()["id"]
    place, orders = f"{PLACE}/{id_}", Orders(store)
    orders.hand(id_, "run-1")
    for state, shown in (("SCHEDULED", "queued"), ("RUNNING", "running"), ("PAUSED", "waiting_for_review"),
                         ("CRASHED", "queued"), ("FAILED", "failed")):  # fmt: skip
        server.state = state
        assert client.get(place).json()["state"] == shown
    server.state, server.starts = "CRASHED", MOST_STARTS
    assert client.get(place).json()["state"] == "failed", "nobody begins it again"
    server.down = True
    assert client.get(place).json()["state"] == "queued"
    orders.fail(id_, "crashed")
    assert client.get(place).json()["state"] == "failed"
    server.down = False
    assert client.get(f"{place}/model").status_code == 404
    lora = store.put_blob(b"weights")
    file = OrderedFile(name="x.safetensors", digest=lora, size_bytes=7, address="file:///out/x.safetensors")
    orders.end(id_, OrderEnded(state="succeeded", lora=lora, files=(file,), model_url=file.address))
    view = client.get(place).json()
    assert (view["state"], view["model_url"], view["sha256"], view["size_bytes"]) == (
        "succeeded", "file:///out/x.safetensors", lora, 7)  # fmt: skip
    assert client.get(f"{place}/model").content == b"weights"
    assert client.delete(place).json()["state"] == "succeeded", "what is done stays done"
    assert client.post(f"{PLACE}?wait=true", json=body()).status_code == 200


def test_a_cancelled_order_ends_its_run(client: TestClient, store: Store, server: Server) -> None:
    id_ = client.post(PLACE, json=body()).json()["id"]
    Orders(store).hand(id_, "run-1")
    assert client.delete(f"{PLACE}/{id_}").json()["state"] == "cancelled" and server.state == "CANCELLED"
    assert client.get(f"{PLACE}/{id_}").json()["state"] == "cancelled"
    assert client.get(f"{PLACE}/{'0' * 20}").status_code == 404 and client.get(f"{PLACE}/x").status_code == 422


def test_wait_answers_when_it_is_done(client: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.studio.order_api.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("deployments.studio.order_api.MOST_WAIT_SECONDS", 0.05)
    assert client.post(f"{PLACE}?wait=true", json=body()).status_code == 202, "not done yet"


def test_health_needs_no_token_and_says_nothing(client: TestClient) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200 and answer.json() == {"status": "ok"}


def test_the_description_names_all_of_it(client: TestClient) -> None:
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    post = paths[PLACE]["post"]
    assert set(post["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    fields = post["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert "$ref" not in json.dumps(post["requestBody"]), "nothing leads out of it"
    assert {"train_data", "user_id", "rank", "alpha", "learning_rate", "epochs", "batch_size"} <= set(fields)
    assert set(paths[f"{PLACE}/{{order}}"]) == {"get", "delete"} and "/healthz" in paths
