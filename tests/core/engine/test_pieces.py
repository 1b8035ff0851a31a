from pathlib import Path

import pytest
import torch

from flenwheel_core.base.errors import MissingWeightsError
from flenwheel_core.engine import optimizers, trackers
from flenwheel_core.engine.job import class_caption
from flenwheel_core.engine.optimizers import make_optimizer, require_optimizer
from flenwheel_core.engine.schedules import learning_rate_factor
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.engine.trackers import make_trackers, require_trackers
from flenwheel_core.images.buckets import bucket_report, bucket_sides, place
from flenwheel_core.recipes.train import TrainingRecipe


def test_buckets_keep_shapes_within_the_area() -> None:
    sides = bucket_sides(1024, 64, aspect=True)
    assert (1024, 1024) in sides and (832, 1216) in sides
    assert all(w % 64 == 0 and h % 64 == 0 and w * h <= 1024 * 1024 for w, h in sides)
    assert bucket_sides(1024, 64, aspect=False) == [(1024, 1024)]


@pytest.mark.parametrize(
    ("size", "bucket"), [((1000, 1000), "1024x1024"), ((3000, 2000), "1216x832"), ((900, 1600), "768x1344")]
)
def test_a_picture_goes_where_least_is_cut(size: tuple[int, int], bucket: str) -> None:
    placement = place(size, bucket_sides(1024, 64, aspect=True))
    assert placement.bucket == bucket
    assert placement.scaled[0] >= placement.width and placement.scaled[1] >= placement.height
    assert placement.cropped_share < 0.05
    assert placement.scaled[0] / placement.scaled[1] == pytest.approx(size[0] / size[1], rel=0.01)


def test_the_report_counts_and_warns_of_crops() -> None:
    sides = bucket_sides(512, 64, aspect=False)
    text = bucket_report([place((512, 512), sides), place((1024, 512), sides)])
    assert text == "2 in 512x512 (at most 50% cut)"


def test_the_schedule_is_a_function_of_the_step() -> None:
    def at(step: int, schedule: str) -> float:
        return learning_rate_factor(step, steps=100, warmup_steps=10, schedule=schedule)  # type: ignore[arg-type]

    assert [at(step, "cosine") for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert (
        at(10, "cosine") == 1.0 and at(55, "cosine") == pytest.approx(0.55) and at(100, "cosine") == pytest.approx(0.1)
    )
    assert at(55, "linear") == pytest.approx(0.55) and at(77, "constant") == 1.0


def test_a_cache_entry_belongs_to_its_content(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    made: list[str] = []

    def make(name: str, value: float) -> dict[str, torch.Tensor]:
        made.append(name)
        return {"x": torch.tensor([value])}

    key = {"image": "a", "crop": [1, 2]}
    assert cache.get_or_make(key, lambda: make("first", 1.0))["x"].item() == 1.0
    assert cache.get_or_make({"crop": [1, 2], "image": "a"}, lambda: make("again", 2.0))["x"].item() == 1.0
    assert cache.get_or_make({**key, "crop": [1, 3]}, lambda: make("other", 3.0))["x"].item() == 3.0
    assert made == ["first", "other"]
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(b"torn")
    assert cache.get_or_make(key, lambda: make("repaired", 4.0))["x"].item() == 4.0


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("photo of ohwx_char person, smiling", "photo of a person, smiling"),
        ("photo of ohwx_char, smiling", "photo of a person, smiling"),
        ("smiling", "a person, smiling"),
    ],
)
def test_the_class_caption_has_the_class_in_place_of_the_trigger(caption: str, expected: str) -> None:
    assert class_caption(caption, "ohwx_char", "person") == expected


@pytest.mark.parametrize("name", ["adamw", "adafactor", "adamw8bit", "prodigy"])
def test_optimizers_by_name_take_a_step(name: str) -> None:
    weight = torch.nn.Parameter(torch.ones(64, 64))
    recipe = TrainingRecipe(optimizer=name, learning_rate=1.0 if name == "prodigy" else 0.01)  # type: ignore[arg-type]
    optimizer = make_optimizer(recipe, [weight])
    (weight**2).sum().backward()
    optimizer.step()
    assert (weight < 1).all()


def test_a_missing_optimizer_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingWeightsError, match="prodigyopt"):
        make_optimizer(TrainingRecipe(optimizer="prodigy", learning_rate=1.0), [])
    with pytest.raises(MissingWeightsError, match="prodigyopt"):
        require_optimizer("prodigy")


def test_tensorboard_has_the_curve(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tracker,) = make_trackers(("tensorboard",), tmp_path, run="a")
    for step, loss in ((10, 0.5), (20, 0.25)):
        tracker.log(step, {"loss": loss, "identity": loss / 2})
    tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 0.5), (20, 0.25)]
    assert [event.value for event in events.Scalars("identity")] == [0.25, 0.125]


def test_a_missing_tracker_is_named_before_anything_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingWeightsError, match=r"trackio.*not installed"):
        require_trackers(("trackio",))
