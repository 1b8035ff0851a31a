"""Turns, gallery, LoRA versions and prompt statistics, read from what the stages left."""

import json

import pytest

from flenwheel_core.base.errors import NotFoundError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import ImageKind
from flenwheel_core.gates.session import Reviews, ReviewSession
from flenwheel_core.gates.summary import picture_cell
from flenwheel_core.library.characters import Library
from flenwheel_core.records.gallery import Records
from flenwheel_core.records.turns import Turns
from flenwheel_core.requests.train import TrainRequest
from flenwheel_core.store import Store
from tests.kit.gate_fixtures import Line
from tests.kit.turn_world import fill_turn


@pytest.fixture
def records(store: Store, reviews: Reviews) -> Records:
    return Records(store, reviews)


@pytest.fixture
def turns(store: Store, settings: Settings, reviews: Reviews) -> Turns:
    return Turns(store, settings, reviews)


def test_a_turn_shows_steps_gates_memory_and_loss(store: Store, turns: Turns, session: ReviewSession) -> None:
    fill_turn(store, [entry.image for entry in Library(store).pool("mira")])
    turn = turns.get("mira", 1)
    assert (turn.outcome, [gate.gate for gate in turn.gates]) == ("promoted", [session.gate])
    steps = {step.name: step for step in turn.steps}
    assert (
        steps["train"].state == "done"
        and steps["train"].peak_vram_gib == 10.7
        and "400 steps" in steps["train"].summary
    )
    assert turn.losses[0].finished and turn.losses[0].points[-1].step == 400
    assert turn.comparison is not None and turn.comparison.promote
    assert turn.report is not None and "All went well" in turn.report
    with pytest.raises(NotFoundError, match="no turn 9"):
        turns.get("mira", 9)


def test_a_running_training_shows_its_loss_so_far(store: Store, turns: Turns, settings: Settings) -> None:
    images = [entry.image for entry in Library(store).pool("mira")]
    fill_turn(store, images)
    asked = store.get_document("turns/mira/0001/train", TrainRequest)
    assert asked is not None
    request = asked.model_copy(update={"seed": 99})
    Library(store).open_turn("mira", "run-2", "0" * 64)
    store.put_document("turns/mira/0002/train-r1", request)
    folder = settings.scratch / "train" / request.key()
    folder.mkdir(parents=True)
    torn = json.dumps({"step": 20, "loss": 0.4})[:-4]
    (folder / "loss.jsonl").write_text(json.dumps({"step": 10, "loss": 0.5}) + "\n" + torn)
    turn = turns.get("mira", 2)
    assert [(point.step, point.loss) for point in turn.losses[0].points] == [(10, 0.5)]
    assert not turn.losses[0].finished and turn.steps[0].state == "asked"


def test_the_gallerys_query_is_what_python_would_choose(records: Records, store: Store) -> None:
    everything = list(records.provenance().images().values())
    cells = {picture_cell(record) for record in everything}
    assert len(everything) > 10 and len(cells) > 2
    for kind in (None, *ImageKind):
        for cell in cells:
            wanted = [
                record
                for record in everything
                if (kind is None or record.kind is kind) and (cell is None or picture_cell(record) == cell)
            ]
            wanted.sort(key=lambda record: (-record.turn, record.stage, record.item))
            page = records.gallery(kind=kind, cell=cell, limit=1000)
            assert page.total == len(wanted)
            assert {record.digest for record in page.images} == {record.digest for record in wanted}
            order = [(record.turn, record.stage, record.item) for record in wanted]
            assert [(record.turn, record.stage, record.item) for record in page.images] == order


def test_the_gallery_filters_and_pages(records: Records, session: ReviewSession) -> None:
    assert records.gallery().total == 16
    assert records.gallery(kind=ImageKind.SOURCE, character="mira").total == 4
    assert records.gallery(character="nobody").total == 0
    assert records.gallery(cell="front-neutral", kind=ImageKind.ENRICHED).total == 1
    first, second = records.gallery(limit=10), records.gallery(offset=10, limit=10)
    assert len(first.images) == 10 and len(second.images) == 6
    assert not {image.digest for image in first.images} & {image.digest for image in second.images}


def test_new_pictures_appear_in_the_gallery(records: Records, store: Store, session: ReviewSession) -> None:
    before = records.gallery().total
    extra = records.gallery().images[0].model_copy(update={"digest": "e" * 64, "item": "later"})
    store.put_images([extra])
    assert records.gallery().total == before + 1


def test_loras_know_their_standing_samples_and_benchmarks(
    records: Records, store: Store, session: ReviewSession
) -> None:
    images = [entry.image for entry in Library(store).pool("mira")]
    old, new = fill_turn(store, images, 1), fill_turn(store, images, 2)
    views = records.loras()
    assert [(view.record.digest, view.is_champion) for view in views] == [(new.digest, True), (old.digest, False)]
    view = records.lora(new.digest)
    assert view.character == "mira" and view.promoted_in_turn == 2
    assert len(view.samples) == 6 and len(view.losses) == 40 and len(view.benchmarks) == 1
    assert [score.turn for score in records.scores("mira")] == [1, 2]
    with pytest.raises(NotFoundError):
        records.lora(images[0].digest)


def test_prompt_statistics_count_open_and_closed_gates(
    records: Records, reviews: Reviews, session: ReviewSession, line: Line
) -> None:
    images = [record.digest for record in reviews.images(session)]
    reviews.decide(session.gate, line(images[0], "good"), line(images[3], "reject", reasons=("style",)))
    open_rows = {row.template: row for row in records.prompts("mira").rows}
    assert (open_rows["angle-0"].made, open_rows["angle-0"].good, open_rows["angle-0"].reviewed) == (4, 1, 2)
    assert open_rows["angle-0"].reasons["style"] == 1
    reviews.close(session.gate, "approve", "take_passed", override_minimum=True, reviewer="ana")
    assert {row.template: row.good for row in records.prompts().rows}["angle-0"] == 1, "by policy is no evidence"
    assert records.prompts("nobody").rows == ()
