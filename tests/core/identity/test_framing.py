"""Edits that should keep their source's frame and do not are pointed out; others are left alone."""

from pathlib import Path

import pytest
from PIL import Image

from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.documents.scores import ScreenReason
from flenwheel_core.identity.framing import Frames
from flenwheel_core.store import Store
from flenwheel_core.store.pictures import save_picture
from tests.kit.edited_scenes import relit, scene, with_patch

FRONT = Labels(angle="front")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "store").as_uri())


def kept(store: Store, image: Image.Image, labels: Labels, *parents: str) -> ImageRecord:
    record = ImageRecord(
        digest="0" * 64, width=1, height=1, kind=ImageKind.ENRICHED, parents=parents,
        stage="enrich", request="1" * 64, item="a", labels=labels,
    )  # fmt: skip
    return save_picture(store, image, record)


def hint(store: Store, edit: Image.Image, asked: Labels = FRONT, has: Labels = FRONT) -> ScreenReason | None:
    source = kept(store, scene(640), has)
    return Frames(store, [source]).moved(kept(store, edit, asked, source.digest), edit)


@pytest.mark.parametrize(("zoom", "shift", "what"), [(1.06, 0, "zoomed"), (0.94, 0, "zoomed"), (1.0, 40, "shifted")])
def test_a_shifted_or_zoomed_edit_is_pointed_out(store: Store, zoom: float, shift: int, what: str) -> None:
    found = hint(store, relit(scene(640, zoom=zoom, shift=shift)))
    assert found is not None and found.code == "misaligned" and found.detail == f"{what} against its source"


def test_further_references_are_no_frame(store: Store) -> None:
    """An edit is compared with its source, whatever else it was given; a corrected picture, which has its edit behind it, is not."""
    source = kept(store, scene(640), FRONT)
    image = relit(scene(640, zoom=1.06))
    edit = kept(store, image, FRONT, source.digest, "b" * 64)
    assert Frames(store, [source]).moved(edit, image) is not None
    corrected = edit.model_copy(update={"kind": ImageKind.CORRECTED})
    assert Frames(store, [source]).moved(corrected, image) is None


def test_an_edit_that_stays_is_left_alone_also_at_a_slightly_other_size(store: Store) -> None:
    assert hint(store, with_patch(scene(640))) is None
    assert hint(store, relit(scene(640)).resize((640, 648))) is None


def test_nothing_is_said_where_the_plan_moves_the_camera_or_the_body(store: Store) -> None:
    moved = relit(scene(640, zoom=1.06))
    assert hint(store, moved, Labels(angle="half-left")) is None
    assert hint(store, moved, Labels(angle="front", pose="sitting")) is None
    assert hint(store, moved, Labels(), Labels()) is not None


def test_nothing_is_said_without_a_source_to_compare_with(store: Store) -> None:
    moved = relit(scene(640, zoom=1.06))
    assert Frames(store, []).moved(kept(store, moved, FRONT, "a" * 64), moved) is None
    assert Frames(store, [kept(store, scene(640), FRONT)]).moved(kept(store, moved, FRONT), moved) is None
    assert hint(store, moved.crop((0, 100, 640, 500))) is None
