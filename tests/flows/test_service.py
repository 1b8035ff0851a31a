"""Carrying out an order, step by step: straight to a LoRA, or as a whole turn with its gates; published, and ended once."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kit.workspace import write_recipe
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import ClosedGate
from flenwheel_core.documents.orders import OrderEnded, OrderPicture, TrainOrder
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.library.characters import Character, Library
from flenwheel_core.library.orders import Orders
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.requests.ingest import SourceFile
from flenwheel_core.runner import stage as stages
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.publish import publish
from flenwheel_core.store import Store
from flows.service import delivered, reviewed, straight
from flows.turn import Turn


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
        id="a1", trigger="ohwx_char", class_word="cat", kind="subject", recipe=str(recipe), pictures=pictures
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
    ended = Orders(context.store).ended("a1")
    assert ended is not None and ended.state == "succeeded" and ended.model_url == said
    assert Path(said.removeprefix("file://")).exists() and Library(context.store).champion(order.character) is None
    first = ended
    assert delivered(turn, order, *straight(turn, runner), runner) == said, "a replay ends it the same"
    assert Orders(context.store).ended("a1") == first


def test_with_gates_it_is_a_whole_turn_and_the_champion_is_delivered(context: StageContext, tmp_path: Path) -> None:
    turn, order, runner = ordered(context, tmp_path, gates=True)
    delivered(turn, order, *reviewed(turn, runner), runner)
    champion = Library(context.store).champion(order.character)
    ended = Orders(context.store).ended("a1")
    assert len(runner.gates) == 2 and champion is not None and ended is not None
    assert ended.lora == champion.lora.digest and "benchmark" in " ".join(runner.labels)


def test_a_cancelled_order_stays_cancelled(context: StageContext, tmp_path: Path) -> None:
    turn, order, runner = ordered(context, tmp_path, gates=False)
    Orders(context.store).end("a1", OrderEnded(state="cancelled"))
    assert delivered(turn, order, *straight(turn, runner), runner) == "cancelled"
    assert "publish" not in " ".join(runner.labels) and not (tmp_path / "published").exists()
