"""What is trained on keeps the share of real pictures."""

import pytest

from flenwheel_core.documents.images import ImageKind, ImageRecord, Labels
from flenwheel_core.library.characters import PoolEntry
from flenwheel_core.plans.training_set import training_items


def entry(number: int, *, real: bool) -> PoolEntry:
    kind = ImageKind.SOURCE if real else ImageKind.SYNTHETIC
    image = ImageRecord(
        digest=f"{number:064x}", width=8, height=8, kind=kind, stage="ingest", request="0" * 64, item=f"{number}.png"
    )
    return PoolEntry(image=image, caption="photo of ohwx_char person", real=real, turn=1, gate=None)


def test_a_picture_is_trained_with_its_mask() -> None:
    with_mask = entry(0, real=True)
    with_mask = with_mask.model_copy(update={"image": with_mask.image.model_copy(update={"mask": "f" * 64})})
    assert [item.mask for item in training_items([with_mask, entry(1, real=True)], 0.4)] == ["f" * 64, None]


@pytest.mark.parametrize(
    ("real", "made", "share"), [(12, 40, 0.4), (12, 3, 0.4), (12, 0, 0.4), (0, 5, 0.4), (3, 97, 0.5)]
)
def test_real_pictures_keep_their_share(real: int, made: int, share: float) -> None:
    pool = [entry(number, real=number < real) for number in range(real + made)]
    items = training_items(pool, share)
    total = sum(item.weight for item in items)
    got = sum(item.weight for item in items if item.real) / total
    assert len(items) == real + made
    if real:
        assert got >= share - 1e-9


def test_bodies_begin_later_where_the_recipe_says_so_and_there_are_heads() -> None:
    def shown(number: int, pose: str | None) -> PoolEntry:
        one = entry(number, real=True)
        return one.model_copy(update={"image": one.image.model_copy(update={"labels": Labels(pose=pose)})})  # type: ignore[arg-type]

    pool = [shown(0, "portrait"), shown(1, "standing"), shown(2, None)]
    assert [item.begins for item in training_items(pool, 0.4, bodies_from=0.4)] == [0.0, 0.4, 0.0]
    assert [item.begins for item in training_items(pool, 0.4)] == [0.0, 0.0, 0.0]
    assert [item.begins for item in training_items([shown(1, "t-pose")], 0.4, bodies_from=0.4)] == [0.0]
    assert "begins" not in training_items(pool, 0.4)[1].model_dump(mode="json"), "requests of before keep their digest"
