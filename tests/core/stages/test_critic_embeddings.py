"""Embeddings for the critic: what is damaged has none, and a store that does not answer is no damage."""

import threading
from pathlib import Path

import pytest

from flenwheel_core.base.errors import StoreError
from flenwheel_core.base.progress import Progress
from flenwheel_core.base.settings import Settings
from flenwheel_core.nano.world import HELD_OUT_FROM, View, make_character, render
from flenwheel_core.runner.stage import StageContext
from flenwheel_core.stages.critic_embeddings import embeddings_of
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import encode_png


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    store, settings = Store((tmp_path / "store").as_uri()), Settings(workspace=tmp_path, gpu="cpu")
    return StageContext(store, settings, tmp_path, Progress("critic", lambda _: None), 0, threading.Event())


def face(context: StageContext, seed: int) -> str:
    view = View(angle="front", expression="smiling", background="studio", lighting="day", seed=seed)
    return context.store.put_blob(encode_png(render(make_character(HELD_OUT_FROM + 41), view), {}))


def test_a_damaged_picture_has_none(context: StageContext) -> None:
    shown, damaged = face(context, 1), context.store.put_blob(b"no picture")
    found, _ = embeddings_of([damaged, shown, "e" * 64], "nano", context)
    assert list(found) == [shown]
    again, _ = embeddings_of([shown], "nano", context)
    assert again == found, "kept as it was worked out"


def test_a_picture_that_cannot_be_fetched_now_is_not_left_out(context: StageContext) -> None:
    """The critic that learned without it would be kept for good under the same request."""
    image = face(context, 2)
    (place,) = (path for path in context.scratch.rglob(f"*{image}*") if path.is_file())
    place.unlink()
    place.mkdir()
    with pytest.raises(StoreError, match="Could not read"):
        embeddings_of([image], "nano", context)
