"""An editor behind an address, against a stand-in server: what is sent, what it costs, how it is asked again, what is refused."""

import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.errors import (
    FlenwheelError,
    InputError,
    MissingWeightsError,
    RecipeError,
    ResourceError,
    ServerError,
    StoreError,
)
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, Sampler
from flenwheel_core.documents.prompts import EditItem
from flenwheel_core.models.card_plan import CardRoom
from flenwheel_core.models.edit_address.address import EditAddress
from flenwheel_core.models.edit_address.client import EditClient
from flenwheel_core.models.edit_address.editor import open_editor
from flenwheel_core.models.edit_address.ledger import Ledger
from flenwheel_core.models.protocols import EditJob, ModelSetup
from flenwheel_core.models.references import ModelRole, pin_model
from flenwheel_core.models.registry import find_edit_trainer
from flenwheel_core.plans.card_plans import plan_stages
from flenwheel_core.plans.recipe_check import recipe_problems, require_edit_choices
from flenwheel_core.recipes.loading import load_recipe
from flenwheel_core.recipes.model import EditorLora
from flenwheel_core.requests.enrich import EnrichRequest
from flenwheel_core.runner.launch import run_in_child
from flenwheel_core.runner.stage import ENRICH
from flenwheel_core.runner.stage_runs import stage_runs
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import load_picture, save_picture
from tests.kit.edit_server import EditServer, picture_answer, refusal, running_edit_server
from tests.kit.tiny_editor import picture

SAMPLER = Sampler(steps=1, width=64, height=64)


@pytest.fixture
def server() -> Iterator[EditServer]:
    with running_edit_server() as running:
        yield running


@pytest.fixture
def key(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("sk-secret\n")
    return tmp_path / "key"


def address_of(server: EditServer, **changes: Any) -> dict[str, Any]:
    return {"_class_name": "ImageEditAddress", "url": server.url, "model": "editor-1", "price": "0.25", **changes}


def folder_of(tmp_path: Path, content: dict[str, Any]) -> Path:
    folder = tmp_path / "address"
    folder.mkdir(exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(content))
    return folder


def job(key: str = "a", *images: Image.Image, prompt: str = "make it smile") -> EditJob:
    return EditJob(key, prompt, 7, SAMPLER, images or (picture(96, 64, 1),))


def rich(settings: Settings, budget: float = 10.0) -> Settings:
    return settings.model_copy(update={"edit_budget": budget})


def client_of(
    server: EditServer, tmp_path: Path, most: str = "10", **changes: Any
) -> tuple[EditClient, Ledger, list[float], list[str]]:
    """A client that does not really wait, its ledger, its waits and what it said."""
    address = EditAddress.model_validate(address_of(server, **changes))
    ledger, stop, notes = Ledger(Store((tmp_path / "store").as_uri()), address, Decimal(most)), Unhurried(), []
    return EditClient(address, ledger, notes.append, stop), ledger, stop.waits, notes


class Unhurried(threading.Event):
    """A stop that never comes, and remembers how long it would have been waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return False


def test_a_form_with_bare_pictures_goes_out_and_the_picture_comes_back(
    server: EditServer, settings: Settings, tmp_path: Path, key: Path
) -> None:
    fields = {"quality": "high"}
    folder = folder_of(tmp_path, address_of(server, key_file=str(key), fields=fields, seed_field="seed"))
    source = picture(96, 64, 1)
    source.info["comment"] = "Ann at home"
    notes: list[str] = []
    with open_editor(folder, "mine@1", rich(settings), setup=ModelSetup(note=notes.append)) as editor:
        (made,) = editor.edit([job("a", source, picture(64, 64, 2))])
        assert editor.model == "mine@1" and "1 edits; 0.25 USD spent so far, 9.75 left" in editor.phases[0].line()
    (sent,) = server.sent
    assert sent.headers["Authorization"] == "Bearer sk-secret"
    assert {name: value for name, value in sent.fields.items() if "file" not in name} == {
        "model": "editor-1", "prompt": "make it smile", "n": "1", "size": "1536x1024", "quality": "high", "seed": "7"
    }  # fmt: skip
    assert sent.fields["file 1"] == sent.fields["file 2"] == "image[]" and len(sent.pictures) == 2
    opened = Image.open(io.BytesIO(sent.pictures[0]))
    assert isinstance(opened, PngImagePlugin.PngImageFile) and not opened.text and opened.tobytes() == source.tobytes()
    assert made.image.getpixel((5, 5)) == tuple(255 - value for value in source.getpixel((5, 5)))
    assert any("these leave this machine, to 127.0.0.1" in note and "0.25 USD" in note for note in notes)
    assert "sk-secret" not in "".join(notes)


def test_a_busy_address_is_asked_again_as_late_as_it_says(server: EditServer, tmp_path: Path) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.answers = [
        refusal(429, "slow down", Retry_After="7"),
        refusal(503, "later", Retry_After=soon),
        refusal(429, "slow down", Retry_After="9999"),
        refusal(429, "slow down", Retry_After="soon"),
    ]
    client, ledger, waits, notes = client_of(server, tmp_path)
    client.edit(job())
    assert waits[0] == 7 and 20 < waits[1] <= 30 and waits[2] == 60 and waits[3] == 8
    assert len(server.sent) == 5 and ledger.spent == Decimal("0.25")  # four refusals were free
    assert len({sent.headers["Idempotency-Key"] for sent in server.sent}) == 1
    assert notes[0] == "127.0.0.1: 429 Too Many Requests: slow down; asking again in 7 s"


def test_what_may_have_been_made_counts_and_a_broken_address_is_given_up(server: EditServer, tmp_path: Path) -> None:
    server.answers = [refusal(500, "oops")] * 3
    client, ledger, waits, _ = client_of(server, tmp_path, tries=3)
    with pytest.raises(ServerError, match="did not make edit a in 3 tries"):
        client.edit(job())
    assert waits == [1, 2] and ledger.spent == Decimal("0.75")


def test_an_address_that_is_not_there_costs_nothing(server: EditServer, tmp_path: Path) -> None:
    client, ledger, _, _ = client_of(server, tmp_path, tries=2, url="http://127.0.0.1:9/v1/images/edits")
    with pytest.raises(ServerError, match="2 tries"):
        client.edit(job())
    assert ledger.spent == 0


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (refusal(400, "the safety system says no"), InputError, "the safety system says no"),
        (refusal(302, "", Location="http://127.0.0.1:9/"), InputError, "302"),
        (refusal(401, "wrong key"), MissingWeightsError, "wrong key"),
        ((200, {}, b"<html>"), InputError, "no picture is in it"),
        ((200, {}, b'{"data": [{"url": "http://127.0.0.1:9/a.png"}]}'), InputError, "response_format"),
        ((200, {}, b'{"data": [{"b64_json": "!!"}]}'), InputError, "no picture is in it"),
        ((200, {}, b"[" * 100_000), InputError, "no picture is in it"),
        ((200, {}, picture_answer(b"no picture")), InputError, "the answer of 127.0.0.1"),
        ((404, {}, b"\xff<h1>nothing\n here</h1>" * 100), InputError, "404 Not Found"),
    ],
)
def test_an_answer_without_a_picture_is_said_in_words_and_not_asked_for_again(
    server: EditServer, tmp_path: Path, answer: Any, kind: type[FlenwheelError], said: str
) -> None:
    server.answers = [answer]
    client, ledger, _, _ = client_of(server, tmp_path)
    with pytest.raises(kind) as caught:
        client.edit(job())
    assert said in caught.value.message and len(caught.value.message) < 900 and len(server.sent) == 1
    assert ledger.spent == (Decimal("0.25") if answer[0] == 200 else 0)


def test_an_answer_without_end_is_not_read(server: EditServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flenwheel_core.models.edit_address.client.LARGEST_ANSWER_BYTES", 2**20)
    server.answers = [(200, {}, b"x" * (2**20 + 1))]
    with pytest.raises(InputError, match="larger than 1 MiB"):
        client_of(server, tmp_path)[0].edit(job())


def test_nothing_is_sent_that_would_cost_more_than_is_allowed(
    server: EditServer, settings: Settings, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, address_of(server))
    jobs = [job(str(number)) for number in range(3)]
    with pytest.raises(ResourceError, match=r"3 edits cost 0\.75 USD, and 0 are left of the 0\.0 USD"):
        list(open_editor(folder, "mine", settings).thing.edit(jobs))  # off unless a person sets a budget
    with pytest.raises(ResourceError) as caught:
        list(open_editor(folder, "mine", rich(settings, 0.5)).thing.edit(jobs))
    assert "edit_budget" in caught.value.remedy and not server.sent
    for _ in range(2):  # each run of the workspace counts what those before it spent
        with open_editor(folder, "mine", rich(settings, 0.5)) as editor:
            assert len(list(editor.edit(jobs[:1]))) == 1
    with (
        pytest.raises(ResourceError, match=r"0\.25 USD, and 0(\.00)? are left"),
        open_editor(folder, "mine", rich(settings, 0.5)) as editor,
    ):
        list(editor.edit(jobs[:1]))
    assert len(server.sent) == 2


def test_a_server_of_ones_own_costs_nothing(server: EditServer, settings: Settings, tmp_path: Path) -> None:
    with open_editor(folder_of(tmp_path, address_of(server, price=0)), "mine", settings) as editor:
        assert len(list(editor.edit([job()]))) == 1


def test_a_ledger_that_cannot_be_read_is_said_so_and_nothing_is_sent(server: EditServer, tmp_path: Path) -> None:
    client = client_of(server, tmp_path)[0]
    client.edit(job())
    (place,) = (tmp_path / "store" / "journals" / "edit-addresses").glob("*.jsonl")
    with place.open("a") as lines:
        lines.write(place.read_text().replace("0.25", "0.2x"))
    with pytest.raises(StoreError, match="cannot be read as Spending"):
        client.edit(job())
    assert len(server.sent) == 1


def test_retries_stop_where_the_money_ends(server: EditServer, tmp_path: Path) -> None:
    server.answers = [refusal(500, "oops")] * 9
    with pytest.raises(ResourceError, match="one more edit costs"):
        client_of(server, tmp_path, most="0.5")[0].edit(job())
    assert len(server.sent) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "http://example.org/v1/images/edits"}, "https only"),
        ({"url": "ftp://example.org/x"}, "https://HOST"),
        ({"url": "https://me:secret@example.org/x"}, "without a name or a password"),
        ({"url": "https://example.org:port/x"}, "port"),
        ({"url": "https://[::1/x"}, "url"),
        ({"sizes": ["big"]}, "no WIDTHxHEIGHT"),
        ({"sizes": ["0x10"]}, "no WIDTHxHEIGHT"),
        ({"price": -1}, "greater than or equal to 0"),
        ({"prise": 1}, "prise"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_words(
    server: EditServer, settings: Settings, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    folder = folder_of(tmp_path, address_of(server, **changes))
    with pytest.raises(RecipeError) as caught:
        open_editor(folder, "mine", settings)
    assert said in caught.value.message and "secret" not in caught.value.why


@pytest.mark.parametrize("content", [None, "", "two words", "sk-schlüssel"])
def test_a_key_that_is_not_there_is_missed_before_anything_is_sent(
    server: EditServer, settings: Settings, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(MissingWeightsError, match="There is no key"):
        open_editor(folder_of(tmp_path, address_of(server, key_file=str(tmp_path / "key"))), "mine", settings)
    assert not server.sent


def test_what_an_address_cannot_do_is_refused_and_not_left_out(
    server: EditServer, settings: Settings, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, address_of(server))
    with pytest.raises(InputError, match="wears no LoRAs"):
        open_editor(folder, "mine", settings, ModelSetup(loras=(LoraFile(tmp_path / "a.safetensors", 1.0),)))
    with pytest.raises(RecipeError, match="no storage"):
        open_editor(folder, "mine", settings, ModelSetup(storage="nf4"))
    with pytest.raises(InputError, match="somebody else wrote down"):
        open_editor(folder, "somebody/address@main", settings)
    few_steps = EditJob("a", "x", 1, SAMPLER, (picture(64, 64, 1),), shift=3.0)
    with pytest.raises(InputError, match="noise levels"), open_editor(folder, "mine", rich(settings)) as editor:
        list(editor.edit([few_steps]))
    with pytest.raises(InputError, match="an editor to train a LoRA on"):
        find_edit_trainer(str(folder), settings)
    assert not server.sent


def test_the_source_asks_for_the_nearest_size_or_for_none(server: EditServer) -> None:
    address = EditAddress.model_validate(address_of(server))
    assert [address.size_for(size) for size in ((10, 10), (30, 20), (20, 31))] == [
        "1024x1024",
        "1536x1024",
        "1024x1536",
    ]
    assert EditAddress.model_validate(address_of(server, sizes=[])).size_for((1, 1)) is None


def test_a_recipe_that_names_it_is_checked_and_planned_and_says_what_leaves_the_machine(
    server: EditServer, settings: Settings, tmp_path: Path
) -> None:
    known = load_recipe("nano")
    folder = folder_of(tmp_path, address_of(server))
    recipe = known.model_copy(update={"models": known.models.model_copy(update={"editor": str(folder)})})
    assert recipe_problems(recipe, settings) == []
    plan = next(
        one for one in plan_stages(recipe, settings, CardRoom(8.0, multiplies_fp8=True)) if one.stage == "enrich"
    )
    assert "leave this machine, to 127.0.0.1" in plan.text and "12.50 USD" in plan.text
    assert pin_model(str(folder), ModelRole.EDITOR, settings).startswith(f"{folder}@")


def test_a_recipe_that_asks_an_address_for_what_it_cannot_do_is_refused_before_its_turn_begins(
    server: EditServer, settings: Settings, tmp_path: Path
) -> None:
    known = load_recipe("nano")
    lora = EditorLora(file=str(tmp_path / "a.safetensors"))
    recipe = known.model_copy(
        update={
            "models": known.models.model_copy(update={"editor": str(folder_of(tmp_path, address_of(server)))}),
            "enrich": known.enrich.model_copy(update={"shift": 3.0, "loras": (lora,)}),
        }
    )
    shift, loras, *_ = recipe_problems(recipe, settings)
    assert shift.startswith("enrich.shift: An editor behind an address does not read it; it has no noise levels")
    assert loras.startswith("enrich.loras: An editor behind an address does not read it; it wears no LoRAs")
    with pytest.raises(RecipeError, match="cannot edit so") as caught:
        require_edit_choices(recipe, settings)
    assert shift in caught.value.why
    require_edit_choices(recipe.model_copy(update={"enrich": known.enrich}), settings)


@pytest.mark.slow
def test_the_stage_enriches_with_it_in_a_process_of_its_own(
    server: EditServer, settings: Settings, tmp_path: Path, key: Path
) -> None:
    store, said = Store(settings.store_url), []
    blank = ImageRecord(
        digest="0" * 64, width=1, height=1, kind=ImageKind.SOURCE, stage="ingest", request="1" * 64, item="a.png"
    )
    source = save_picture(store, picture(96, 96), blank)
    folder = folder_of(tmp_path, address_of(server, key_file=str(key)))
    request = EnrichRequest(
        character=CharacterRef(name="ann", trigger="ann_char", class_word="person", kind="person"),
        sources=store.put_images([source]),
        items=tuple(EditItem(key=f"edit-{n}", source=source.digest, prompt="smiling", seed=n) for n in range(2)),
        editor=pin_model(str(folder), ModelRole.EDITOR, settings),
        sampler=SAMPLER,
        turn=1,
    )
    made = store.get_images(run_in_child(ENRICH, request, rich(settings), said.append).images)
    assert len(made) == len(server.sent) == 2 and made[0].model == request.editor
    assert load_picture(store, made[0].digest).size == (96, 96)
    assert any("leave this machine" in event.line() for event in said)
    runs = [run for run in stage_runs(store).read() if run.event == "finished"]
    assert [run.slot for run in runs] == [None], "it does not wait for the card"
