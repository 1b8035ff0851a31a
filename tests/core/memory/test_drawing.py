"""The plan of drawing: exacter storages first, and less memory at every level."""

import itertools

import pytest

from flenwheel_core.base.errors import NoTighterPlanError, ResourceError
from flenwheel_core.memory.drawing import TILE_PX, DrawingPlan, DrawingSpec, Largest, plan_drawing, predict_drawing_gib

GIB = 2**30
SPEC = DrawingSpec(
    weights=10 * GIB,
    largest_linear=GIB // 100,
    loading_bytes=GIB / 4,
    other_bytes=GIB / 2,
    channels=1024,
    working_bytes={"dense": 20.0, "fp8": 24.0, "nf4": 20.0},
    decoding_bytes=2000.0,
    fixed_bytes=GIB / 4,
)
PICTURE = Largest(tokens=8192, pixels=1024 * 1024, adapter_weights=GIB // 8)


def plan(usable_gib: float, *, level: int = 0, storages: tuple[str, ...] = ("dense", "fp8", "nf4")) -> DrawingPlan:
    return plan_drawing(SPEC, PICTURE, usable_gib=usable_gib, storages=storages, memory_level=level)  # type: ignore[arg-type]


def test_more_memory_means_an_exacter_storage_and_whole_pictures() -> None:
    assert [plan(gib).storage for gib in (40, 16, 8.5)] == ["dense", "fp8", "nf4"]
    assert plan(40).tile_px is None and not plan(40).empties
    chosen = plan(12.0)
    assert (chosen.storage, chosen.tile_px) == ("fp8", TILE_PX) and chosen.empties
    assert "tiles of 512 px" in chosen.describe()


def test_every_plan_fits_what_may_be_used() -> None:
    for usable in (8.0, 10.0, 12.5, 14.0, 23.0, 48.0):
        assert plan(usable).predicted_gib <= usable


def test_each_level_needs_really_less_until_nothing_is_left_to_give_up() -> None:
    needs = []
    with pytest.raises(NoTighterPlanError, match="nvidia-smi"):
        for level in itertools.count():
            needs.append(plan(40, level=level).predicted_gib)
    assert len(needs) > 3 and all(later <= 0.95 * before for before, later in itertools.pairwise(needs))


def test_what_cannot_fit_is_refused_with_the_least_it_takes() -> None:
    with pytest.raises(ResourceError, match=r"needs \d\.\d GiB .* 4\.0 GiB may be used"):
        plan(4.0)


def test_adapters_references_and_size_count() -> None:
    bare = Largest(PICTURE.tokens, PICTURE.pixels)
    small = Largest(PICTURE.tokens // 4, PICTURE.pixels // 4)

    def need(largest: Largest) -> float:
        return predict_drawing_gib(SPEC, largest, "fp8", empties=False, tile_px=None)

    assert need(small) < need(bare) < need(PICTURE)
