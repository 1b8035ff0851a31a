"""The stages of a head's training on a toy model: each learns, and a run that was interrupted anywhere ends with the same bits."""

from pathlib import Path
from typing import cast

import pytest
import torch

from flenwheel_core.base.errors import InterruptedStageError
from flenwheel_core.engine.checkpoint import Checkpoint, CheckpointFolder
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.injection.heads import LinearHead
from flenwheel_core.injection.phrases import Phrases
from flenwheel_core.injection.tasks import FlowTask, InjectionTask, OracleTask, caption_target, difference
from flenwheel_core.injection.training import HeadJob, Learned, learn
from flenwheel_core.models.prompt_model import PromptModel
from flenwheel_core.recipes.injection import HeadRecipe, LearningRecipe
from flenwheel_core.runner.stage import INJECT_TRAIN
from tests.kit.injection_world import ToyPrompts, toy_lessons

TOY = cast(PromptModel, ToyPrompts())
TOKENS, PHRASE = HeadRecipe(place="tokens", tokens=2), HeadRecipe(place="phrase", tokens=2, lead=1)


def run(folder: Path, learning: LearningRecipe, stop_after: int | None = None, head: HeadRecipe = TOKENS) -> Learned:
    """`stop_after` counts the steps of all stages together."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return stop_after is not None and asked > stop_after

    hooks = TrainHooks(should_stop, lambda _step, _loss: None, lambda _text: None, lambda _part: None)
    job = HeadJob("run", head, learning, folder)
    return learn(TOY, toy_lessons(), job, hooks)


LEARNING = LearningRecipe(epochs=4, batch_size=2, oracle_steps=9, checkpoint_every=5, learning_rate=0.02)


@pytest.mark.parametrize(
    ("stop_after", "head"), [(at, TOKENS) for at in (4, 9, 12, 27, 31)] + [(12, PHRASE), (27, PHRASE)]
)
def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path, stop_after: int, head: HeadRecipe) -> None:
    whole = run(tmp_path / "whole", LEARNING, head=head)
    with pytest.raises(InterruptedStageError):
        run(tmp_path / "cut", LEARNING, stop_after, head)
    assert INJECT_TRAIN.kept is not None
    moved = tmp_path / "another machine"  # it has what travels, and nothing else
    files = sorted((tmp_path / "cut").glob(INJECT_TRAIN.kept.newest_of))[-1:]
    for file in [*files, *(one for pattern in INJECT_TRAIN.kept.beside for one in (tmp_path / "cut").glob(pattern))]:
        place = moved / file.relative_to(tmp_path / "cut")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.read_bytes())
    again = run(moved, LEARNING, head=head)
    assert list(whole.curves) == ["oracle", "regression", "flow"] and again.curves == whole.curves
    for one, other in ((whole.head, again.head), (whole.oracle, again.oracle)):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_states_are_made_as_often_as_the_store_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learning = LEARNING.model_copy(update={"checkpoint_every": 1000, "oracle_steps": 0, "stages": ("regression",)})
    steps, save = learning.steps(len(toy_lessons().photos)), CheckpointFolder.save
    made: list[int] = []

    def noted(folder: CheckpointFolder, checkpoint: Checkpoint) -> None:
        save(folder, checkpoint)
        made.append(checkpoint.step)

    monkeypatch.setattr(CheckpointFolder, "save", noted)

    def kept(folder: Path, save_seconds: float | None) -> list[int]:
        made.clear()
        hooks = TrainHooks(lambda: False, lambda _step, _loss: None, str, str, save_seconds=save_seconds)
        learn(TOY, toy_lessons(), HeadJob("run", TOKENS, learning, folder), hooks)
        return list(made)

    assert not kept(tmp_path / "recipe", None)
    assert kept(tmp_path / "clock", 0.0) == list(range(1, steps))


@pytest.mark.parametrize("head", [TOKENS, PHRASE])
@pytest.mark.parametrize("stage", ["regression", "flow"])
def test_each_stage_learns_who_it_is(tmp_path: Path, stage: str, head: HeadRecipe) -> None:
    learning = LearningRecipe.model_validate(
        {"epochs": 60, "batch_size": 3, "learning_rate": 0.05, "stages": (stage,), "checkpoint_every": 1000}
    )
    losses = [point.loss for point in run(tmp_path, learning, head=head).curves[stage]]
    assert losses[-1] < 0.8 * losses[0]


def test_features_are_never_those_of_the_picture_itself() -> None:
    lessons = toy_lessons()
    task = InjectionTask(lessons, LearningRecipe().training(3, 0.1), "all", seed=1, device=torch.device("cpu"))
    for index in range(20):
        photo = lessons.photos[index % len(lessons.photos)]
        views = lessons.identities[photo.identity].features
        others = [view for view in range(len(views)) if view != photo.view]
        made = task.features([photo], index)[0]
        means = [views[list(chosen)].mean(0) for chosen in ([others[0]], [others[1]], others)]
        assert any(torch.allclose(made, mean) for mean in means)


def test_nothing_but_the_head_learns() -> None:
    lessons = toy_lessons()
    head = LinearHead(5, 1, 6, seed=0)
    task = FlowTask(TOY, head, lessons, LearningRecipe().training(3, 0.1), "words", seed=1)
    assert set(task.parameters()) == {"linear.weight", "linear.bias", "scale"}
    task.loss(0).backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in task.parameters().values()
    )


def test_an_oracle_of_phrases_begins_with_what_descriptions_say() -> None:
    lessons = toy_lessons()
    task = OracleTask(
        TOY, lessons, LearningRecipe().training(3, 0.1), "phrase", PHRASE.rows, seed=1, lead=PHRASE.leading
    )
    said = Phrases.of(lessons.photos, PHRASE.rows, PHRASE.leading)
    for number, residual in task.parameters().items():
        own = [said.target(photo) for photo in lessons.photos if str(photo.identity) == number]
        torch.testing.assert_close(residual.detach(), torch.stack(own).mean(0))


def test_a_captions_target_is_no_zero() -> None:
    photo = toy_lessons().photos[0]
    for place, rows in (("all", 1), ("words", 1), ("tokens", 4)):
        target = caption_target(photo, place, rows)  # type: ignore[arg-type]
        assert target.shape == (rows, 6) and target.abs().sum(1).min() > 0.1


@pytest.mark.parametrize(
    ("plain", "described", "said"),
    [
        ("photo of a person, sad", "photo of a person with red hair, sad", "with red hair"),
        ("a photo of a person", "a photo of a person", ""),
        ("a photo of a person", "somebody else entirely", "somebody else entirely"),
    ],
)
def test_what_a_description_adds(plain: str, described: str, said: str) -> None:
    assert difference(plain, described) == said
