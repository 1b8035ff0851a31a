"""The stage `enrich`: provenance, resume at the next image after kill -9, refusals."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from flenwheel_core.base.errors import InputError, InterruptedStageError
from flenwheel_core.base.progress import Progress, ProgressEvent
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.characters import CharacterRef
from flenwheel_core.documents.images import ImageKind, ImageRecord, Sampler
from flenwheel_core.documents.prompts import EditItem
from flenwheel_core.models.qwen_image.conditioning import Revision
from flenwheel_core.requests.enrich import EnrichRequest, EnrichResult
from flenwheel_core.runner.launch import child_environment
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.enrich import enrich, make_edits
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture
from tests.kit.tiny_editor import picture, save_tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("editor"))


def open_store(settings: Settings) -> Store:
    return Store(settings.store_url, settings.store_options)


def request_of(store: Store, folder: Path, number: int = 3) -> EnrichRequest:
    blank = ImageRecord(
        digest="0" * 64, width=1, height=1, kind=ImageKind.SOURCE, stage="ingest", request="1" * 64, item="a.png"
    )
    source = save_picture(store, picture(96, 96), blank)
    items = tuple(EditItem(key=f"edit-{n}", source=source.digest, prompt="smiling", seed=n) for n in range(number))
    return EnrichRequest(
        character=CharacterRef(name="ann", trigger="ann_char", class_word="person", kind="person"),
        sources=store.put_images([source]),
        items=items,
        editor=str(folder),
        sampler=Sampler(steps=2, width=96, height=96),
        turn=1,
    )


def context_of(settings: Settings, events: list[ProgressEvent] | None = None) -> StageContext:
    scratch = settings.scratch / "enrich"
    scratch.mkdir(parents=True, exist_ok=True)
    sink = (events if events is not None else []).append
    return StageContext(open_store(settings), settings, scratch, Progress("enrich", sink), stop=threading.Event())


def test_every_edit_says_where_it_came_from(folder: Path, settings: Settings) -> None:
    store = open_store(settings)
    request = request_of(store, folder, number=1)
    events: list[ProgressEvent] = []
    result = enrich(request, context_of(settings, events))
    (record,) = store.get_images(result.images)
    assert record.kind is ImageKind.ENRICHED and record.parents == (request.items[0].source,)
    assert (record.prompt, record.seed, record.model) == ("smiling", 0, str(folder))
    with Image.open(Path(store.files.local or "") / "blobs" / record.digest[:2] / record.digest) as image:
        assert image.info["flenwheel.parents"] == request.items[0].source
        assert image.info["flenwheel.request"] == request.key()
    assert any(event.kind == "note" and event.text.startswith("edits: ") for event in events)


def test_a_stopped_stage_goes_on_at_the_next_image(folder: Path, settings: Settings) -> None:
    store = open_store(settings)
    request = request_of(store, folder)
    context = context_of(settings)
    context.stop.set()
    with pytest.raises(InterruptedStageError):
        enrich(request, context)
    first = list(store.stage_items(request, ImageRecord).read())
    assert [record.item for record in first] == ["edit-0"]
    records = store.get_images(enrich(request, context_of(settings)).images)
    assert [record.item for record in records] == ["edit-0", "edit-1", "edit-2"] and records[0] == first[0]


def test_parts_of_a_plan_that_were_made_apart_are_found_in_its_order(folder: Path, settings: Settings) -> None:
    store = open_store(settings)
    request = request_of(store, folder)
    apart = [*make_edits(request, context_of(settings), request.items[1::2])]
    apart += make_edits(request, context_of(settings), request.items[0::2])
    events: list[ProgressEvent] = []
    records = store.get_images(enrich(request, context_of(settings, events)).images)
    assert list(records) == [apart[1], apart[0], apart[2]] and events == [], "nothing is made twice"


def test_a_plan_with_a_foreign_picture_is_refused(folder: Path, settings: Settings) -> None:
    request = request_of(open_store(settings), folder)
    stray = request.items[0].model_copy(update={"source": "f" * 64})
    with pytest.raises(InputError, match="none of the sources"):
        enrich(request.model_copy(update={"items": (stray,)}), context_of(settings))


@pytest.mark.slow
def test_kill_9_in_the_middle_resumes_at_the_next_image(folder: Path, settings: Settings, tmp_path: Path) -> None:
    store = open_store(settings)
    request = request_of(store, folder, number=6)
    (tmp_path / "request.json").write_bytes(request.to_bytes())
    command = [sys.executable, "-m", "flenwheel_core.runner.worker", "enrich", "request.json", "result.json"]
    items = store.stage_items(request, ImageRecord)
    with subprocess.Popen(
        command, env=child_environment(settings, None), cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as child:
        while child.poll() is None and not list(items.read()):
            time.sleep(0.02)
        child.kill()
    before = list(items.read())
    assert 1 <= len(before) < 6
    subprocess.run(command, env=child_environment(settings, None), cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)
    result = EnrichResult.from_bytes((tmp_path / "result.json").read_bytes(), where="result")
    records = store.get_images(result.images)
    assert list(records[: len(before)]) == before and len(records) == 6
    assert len(list(items.read())) == 6, "nothing was made twice"


def test_more_references_than_the_editor_takes_and_strange_ones_are_refused_before_anything_loads(
    folder: Path, settings: Settings, tmp_path: Path
) -> None:
    """The first Qwen-Image-Edit takes one picture, the next release three."""
    store = open_store(settings)
    request = request_of(store, folder, 1)
    (source,) = store.get_images(request.sources)
    second = save_picture(store, picture(96, 96, 2), source)
    both = {"sources": store.put_images([source, second])}

    def refused(editor: Path, *references: str) -> str:
        items = tuple(item.model_copy(update={"references": references}) for item in request.items)
        changed = request.model_copy(update={"items": items, "editor": str(editor), **both})
        with pytest.raises(InputError) as caught:
            enrich(changed, context_of(settings))
        return caught.value.message

    assert "has 2 pictures, and the editor takes 1" in refused(folder, second.digest)
    plus = save_tiny(tmp_path / "plus", Revision.PLUS)
    assert "has 4 pictures, and the editor takes 3" in refused(plus, *[second.digest] * 3)
    assert "none of the sources" in refused(plus, "9" * 64)
    items = tuple(item.model_copy(update={"references": (second.digest,)}) for item in request.items)
    done = enrich(request.model_copy(update={"items": items, "editor": str(plus), **both}), context_of(settings))
    assert store.get_images(done.images)[0].parents == (source.digest, second.digest)
