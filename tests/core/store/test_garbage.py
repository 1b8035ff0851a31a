"""Garbage collection removes what nothing references, and never anything else."""

import json
import os
import time

from PIL import Image

from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.decisions import DecisionSet
from flenwheel_core.documents.images import ImageKind, ImageRecord
from flenwheel_core.library.characters import Library, PoolEntry
from flenwheel_core.store import Store
from flenwheel_core.store.garbage import find_garbage, remove_garbage
from flenwheel_core.store.pictures import save_picture
from tests.kit.stages import CountRequest, CountResult

ZERO = "0" * 64


def picture(store: Store, shade: int) -> ImageRecord:
    blank = ImageRecord(
        digest=ZERO, width=1, height=1, kind=ImageKind.SOURCE, stage="ingest", request=ZERO, item=f"{shade}.png"
    )
    return save_picture(store, Image.new("RGB", (4, 4), (shade, 0, 0)), blank)


def test_only_what_nothing_references_goes(settings: Settings) -> None:
    store = Store(settings.store_url)
    in_pool, in_table, orphan = picture(store, 1), picture(store, 2), picture(store, 3)
    Library(store).add_to_pool("mira", [PoolEntry(image=in_pool, caption="", real=True, turn=1, gate=None)])
    kept_table = store.put_images([in_table])
    orphan_table = store.put_images([orphan])
    store.files.write("stages/enrich/abc/manifest.json", json.dumps({"images": kept_table, "count": 1}).encode())
    decisions = store.put_blob(DecisionSet(gate="mira-t1-gate-a-r1", decisions=()).to_bytes())
    store.files.write("documents/reviews/g/outcome.json", json.dumps({"decisions": decisions}).encode())

    garbage = find_garbage(settings, keep_seconds=0)
    assert set(garbage.files) == {
        f"blobs/{orphan.digest[:2]}/{orphan.digest}",
        f"tables/images/{orphan_table}.parquet",
    }
    assert garbage.size_bytes > 0
    remove_garbage(settings, garbage)
    assert find_garbage(settings, keep_seconds=0).files == ()
    assert store.get_images(kept_table) == (in_table,)
    assert store.get_blob(in_pool.digest) and store.get_blob(in_table.digest) and store.get_blob(decisions)


def test_young_files_are_left_alone(settings: Settings) -> None:
    picture(Store(settings.store_url), 1)
    assert find_garbage(settings).files == ()


def test_the_state_of_a_training_goes_when_nothing_came_after_it_for_weeks(settings: Settings) -> None:
    store = Store(settings.store_url)
    assert store.files.local is not None
    old, newest, other = (store.put_blob(f"checkpoint {number}".encode()) for number in range(3))
    paths = ["stages/train/abc/states/1.json", "stages/train/abc/states/2.json", "stages/train/def/states/1.json"]
    for path, blob in zip(paths, (old, newest, other), strict=True):
        store.files.write(path, json.dumps({"files": {"state": blob}}).encode())
    long_ago = time.time() - 29 * 24 * 3600
    for path in store.files.local.rglob("*"):
        if path.is_file() and not path.match(f"*/{newest}") and not path.match("*/abc/states/2.json"):
            os.utime(path, (long_ago, long_ago))
    gone = {paths[2], f"blobs/{other[:2]}/{other}"}
    assert set(find_garbage(settings).files) == gone, "a training that goes on keeps what it has"
    remove_garbage(settings, find_garbage(settings))
    assert find_garbage(settings).files == () and store.get_blob(old) and store.get_blob(newest)


def test_scratch_goes_only_when_its_stage_is_done(settings: Settings) -> None:
    store = Store(settings.store_url)
    done, running = CountRequest(number=1), CountRequest(number=2)
    for request in (done, running):
        folder = settings.scratch / "count" / request.key()
        folder.mkdir(parents=True)
        (folder / "checkpoint").write_bytes(b"x" * 100)
    store.put_result(done, CountResult(counted=(0,), memory_level=0))
    garbage = find_garbage(settings, keep_seconds=0)
    assert [folder.name for folder in garbage.folders] == [done.key()]
    remove_garbage(settings, garbage)
    assert (settings.scratch / "count" / running.key() / "checkpoint").exists()
    assert not (settings.scratch / "count" / done.key()).exists()
