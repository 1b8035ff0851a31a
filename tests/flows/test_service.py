"""Carrying out an order, step by step: straight to a LoRA, or as a whole turn with its gates; published, and ended once."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from benchmarks.kit.workspace import write_recipe
from deployments.studio.app import create_app
from flenwheel_core.base.ids import digest_bytes
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.documents.orders import OrderEnded, OrderPicture, TrainOrder
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.orders import Orders
from flenwheel_core.publishing.object_store import read_publication
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.runner import stage as stages
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.publish import publish
from flenwheel_core.store import Store
from flows.service import delivered, reviewed, straight
from flows.turn import Turn
from tests.kit.s3_server import BUCKET, options_of
from tests.kit.studio_world import Server

ORDER = "a1" * 10


class Here:
    """Runs stand-in stages in this process; every gate is approved at once."""

    def __init__(self, context: StageContext, bodies: Any) -> None:
        self._context, self._bodies = context, bodies
        self.labels: list[str] = []
        self.gates: list[str] = []

    def stage(self, stage: Any, request: Any, label: str) -> Any:
        self.labels.append(label)
        body: Callable[..., Any] = publish if stage.name == "publish" else getattr(self._bodies, stage.name)
        result = body(request, self._context)
        self._context.store.put_request(request)
        self._context.store.put_result(request, result)
        return result

    def gate(self, reviews: Reviews, session: ReviewSession) -> ClosedGate:
        session = reviews.open(session)
        self.gates.append(session.gate)
        return reviews.close(session.gate, "approve", "take_passed", override_minimum=True, reviewer="ana")

    def turn_report(self, _facts: object) -> str:
        return "all went well"


@pytest.fixture
def context(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageContext:
    """A workspace that publishes into a folder in the form of an object store."""
    place = (tmp_path / "published").as_uri()
    monkeypatch.setenv("FLENWHEEL_WORKSPACE", str(settings.root))
    monkeypatch.setenv("FLENWHEEL_PUBLISH_URL", place)
    # The stand-ins register themselves; not for other tests.
    monkeypatch.setattr(stages, "STAGES", dict(stages.STAGES))
    settings.scratch.mkdir(parents=True)
    return StageContext(Store(settings.store_url), settings, settings.scratch, Progress("x", lambda event: None))


def ordered(context: StageContext, folder: Path, *, gates: bool) -> tuple[Turn, TrainOrder, Here]:
    store, recipe = context.store, write_recipe(folder)
    pictures = tuple(OrderPicture(image=store.put_blob(b"%d" % number)) for number in range(10))
    order = TrainOrder(
        id=ORDER, trigger="ohwx_char", class_word="cat", kind="subject", recipe=str(recipe), pictures=pictures
    )
    Orders(store).accept(order)
    character = Character(
        name=order.character, trigger="ohwx_char", class_word="cat", kind="subject", recipe=str(recipe)
    )
    library = Library(store)
    library.create_character(character)
    files = tuple(SourceFile(name=f"{n}.png", digest=one.image) for n, one in enumerate(pictures))
    library.add_sources(character.name, files)
    name = order.character
    turn = Turn(
        store, character, load_recipe(str(recipe)), number=1 if gates else 0, flow_run="run-1", name=name, folder="x"
    )
    return turn, order, Here(context, importlib.import_module("benchmarks.kit.turn_stages"))


def test_without_gates_nobody_is_asked_and_nothing_is_promoted(context: StageContext, tmp_path: Path) -> None:
    turn, order, runner = ordered(context, tmp_path, gates=False)
    said = delivered(turn, order, *straight(turn, runner), runner)
    assert runner.gates == [] and [label.split()[0] for label in runner.labels] == [
        "ingest",
        "train",
        "export",
        "publish",
    ]
    ended = Orders(context.store).ended(ORDER)
    assert ended is not None and ended.state == "succeeded" and ended.model_url == said
    assert Path(said.removeprefix("file://")).exists() and Library(context.store).champion(order.character) is None
    first = ended
    assert delivered(turn, order, *straight(turn, runner), runner) == said, "a replay ends it the same"
    assert Orders(context.store).ended(ORDER) == first


@pytest.mark.slow
def test_a_finished_order_has_its_address_in_the_object_store(
    context: StageContext, tmp_path: Path, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published over the S3 protocol, and told by the service with a link that opens it without keys."""
    place, options = f"s3://{BUCKET}/{tmp_path.name}", options_of(s3_endpoint)
    monkeypatch.setenv("FLENWHEEL_PUBLISH_URL", place)
    monkeypatch.setenv("FLENWHEEL_PUBLISH_OPTIONS", json.dumps(options))
    settings = Settings()
    here = StageContext(context.store, settings, context.scratch, context.progress)
    turn, order, runner = ordered(here, tmp_path, gates=False)
    said = delivered(turn, order, *straight(turn, runner), runner)
    with TestClient(create_app(settings, Server()), base_url="http://127.0.0.1:8000") as client:
        view = client.get(f"/api/v1/train-lora/{order.id}").json()
        kept = client.get(f"/api/v1/train-lora/{order.id}/model").content
    assert view["state"] == "succeeded" and view["model_url"] == said and said.startswith(f"{place}/")
    assert f"/blobs/{view['sha256']}/" in said and said.endswith("/lora.safetensors")
    found = httpx.get(view["link"]).content
    assert digest_bytes(found) == view["sha256"] and len(found) == view["size_bytes"] and kept == found
    assert httpx.get(f"{s3_endpoint}/{said.removeprefix('s3://')}").status_code == 403, "nothing is public"
    record = read_publication(place, str(said.removeprefix(f"{place}/").split("/")[0]), options)
    assert record is not None and record.files
    there = {(file.name, file.sha256) for file in record.files}
    assert there == {(file["name"], file["digest"]) for file in view["files"] if file["address"]}
    assert [file["name"] for file in view["files"] if not file["address"]] == []


def test_with_gates_it_is_a_whole_turn_and_the_champion_is_delivered(context: StageContext, tmp_path: Path) -> None:
    turn, order, runner = ordered(context, tmp_path, gates=True)
    delivered(turn, order, *reviewed(turn, runner), runner)
    champion = Library(context.store).champion(order.character)
    ended = Orders(context.store).ended(ORDER)
    assert len(runner.gates) == 2 and champion is not None and ended is not None
    assert ended.lora == champion.lora.digest and "benchmark" in " ".join(runner.labels)


def test_a_cancelled_order_stays_cancelled(context: StageContext, tmp_path: Path) -> None:
    turn, order, runner = ordered(context, tmp_path, gates=False)
    Orders(context.store).end(ORDER, OrderEnded(state="cancelled"))
    assert delivered(turn, order, *straight(turn, runner), runner) == "cancelled"
    assert "publish" not in " ".join(runner.labels) and not (tmp_path / "published").exists()
