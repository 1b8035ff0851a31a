"""What a corrected edit teaches an editor: the right picture, that it is better than what was rejected, or both."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flenwheel_core.base.errors import InterruptedStageError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.edit_job import EditLesson, EditTrained, EditTrainJob
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.qwen_image.adapter import adapt
from flenwheel_core.models.qwen_image.loading import QwenEditModel, find_model
from flenwheel_core.models.qwen_image.task import EditTask
from flenwheel_core.models.qwen_image.trainer import encode_lessons, train_editor
from flenwheel_core.recipes.train import LoraRecipe, SamplingRecipe, TrainingRecipe
from flenwheel_core.transformer.edit_run import recorded_shapes
from flenwheel_core.transformer.edit_task import Aim, shapes_of
from tests.kit.tiny_editor import picture, save_tiny

RECIPE = TrainingRecipe(
    steps=6,
    resolution=96,
    batch_size=2,
    learning_rate=1e-2,
    warmup_steps=0,
    caption_dropout=0.3,
    checkpoint_every=100,
    log_every=1,
    lora=LoraRecipe(rank=4),
    sampling=SamplingRecipe(every_steps=0),
)
SOURCE, RIGHT = picture(96, 96, 1), picture(96, 96, 2)
REJECTED = RIGHT.copy()
REJECTED.paste((255, 0, 0), (0, 0, 32, 32))


def pair(rejected=REJECTED) -> EditLesson:
    return EditLesson("smiling", lambda: SOURCE, lambda: RIGHT, lambda: rejected)


def approved() -> EditLesson:
    return EditLesson("sad", lambda: RIGHT, lambda: SOURCE, approved=True)


def job(folder: Path, *lessons: EditLesson, **changes) -> EditTrainJob:
    given = EditTrainJob("run", "pairs", lessons, RECIPE, 1.0, 1.0, 1.0, seed=3, folder=folder)
    return replace(given, **changes)


def hooks(stop_after: int | None = None) -> TrainHooks:
    stop = threading.Event()

    def on_step(done: int, loss: float) -> None:
        if done == stop_after:
            stop.set()

    return TrainHooks(stop.is_set, on_step, lambda text: None, lambda text: None)


@pytest.fixture(scope="module")
def editor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("editor"))


@pytest.fixture
def model(editor_folder: Path, settings: Settings) -> QwenEditModel:
    return find_model(editor_folder, "tiny", settings)


@pytest.fixture
def cache(tmp_path: Path) -> TensorCache:
    return TensorCache(tmp_path / "cache")


def task_of(model: QwenEditModel, cache: TensorCache, given: EditTrainJob) -> EditTask:
    adapted = adapt(model, given.recipe, 64, seed=given.seed)
    return EditTask(
        adapted.transformer,
        adapted.parameters,
        model.load_scheduler(),
        given.recipe,
        encode_lessons(model, given, cache),
        seed=given.seed,
        dtype=torch.float32,
        aim=Aim.of(given, adapted.without_adapter),
    )


def gradients(task: EditTask) -> torch.Tensor:
    parameters = list(task.parameters().values())
    found = torch.autograd.grad(task.loss(0), parameters, materialize_grads=True)
    return torch.cat([each.flatten() for each in found])


def test_what_was_rejected_is_read_only_where_it_teaches(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    alone, compared = (
        encode_lessons(model, job(tmp_path, pair(), approved(), corrections_teach=teach), cache)
        for teach in ("answer", "both")
    )
    assert [example.rejected for example in alone] == [None, None]
    assert compared[0].rejected is not None and compared[1].rejected is None
    assert compared[0].rejected.shape == compared[0].target.shape
    wrong = compared[0].weights.wrong
    assert wrong is not None and wrong.reshape(6, 6)[0, 0] == 1 and wrong.reshape(6, 6)[5, 5] == 0
    assert len(shapes_of(alone, RECIPE)) == 2 * len({len(example.prompt) for example in alone})
    dry = RECIPE.model_copy(update={"caption_dropout": 0.0})
    counts = [
        recorded_shapes(found[:1], dry, job(tmp_path, pair(), corrections_teach=teach))
        for teach, found in (("answer", alone), ("comparison", compared))
    ]
    assert counts == [1, 2], "a comparison asks the bare editor too"


def test_an_equal_pair_compares_nothing(model: QwenEditModel, cache: TensorCache, tmp_path: Path) -> None:
    equal, pairs = (
        gradients(task_of(model, cache, job(tmp_path, pair(rejected), corrections_teach="comparison")))
        for rejected in (RIGHT, REJECTED)
    )
    assert float(equal.abs().max()) < 1e-6 < float(pairs.abs().max())


def test_both_adds_the_comparison_to_the_answer(model: QwenEditModel, cache: TensorCache, tmp_path: Path) -> None:
    dry = RECIPE.model_copy(update={"caption_dropout": 0.0})
    answer, comparison, both = (
        gradients(task_of(model, cache, job(tmp_path, pair(), corrections_teach=teach, recipe=dry)))
        for teach in ("answer", "comparison", "both")
    )
    torch.testing.assert_close(both, answer + comparison, atol=1e-5, rtol=1e-3)
    swapped = EditLesson("smiling", lambda: SOURCE, lambda: REJECTED, lambda: RIGHT)
    other = gradients(task_of(model, cache, job(tmp_path, swapped, corrections_teach="comparison", recipe=dry)))
    assert torch.nn.functional.cosine_similarity(other, comparison, dim=0) < -0.9


def margin(task: EditTask) -> float:
    """By how much the right picture is better predicted than the rejected one where they differ, against the bare editor."""
    (example,) = task._examples[:1]
    aim, wrong = task._aim, example.weights.wrong
    assert example.rejected is not None and wrong is not None
    total = 0.0
    for seed in range(4):
        noise = torch.randn(1, *example.target.shape, generator=torch.Generator().manual_seed(seed))
        sigma = torch.tensor([0.3 + 0.15 * seed])
        for latents, sign in ((example.target, -1), (example.rejected, 1)):
            noisy = (1 - sigma) * latents + sigma * noise
            for sense in (1, -1):
                if sense == 1:
                    made = task.predict([example], noisy, sigma, [example.prompt])
                else:
                    with aim.bare():
                        made = task.predict([example], noisy, sigma, [example.prompt])
                total += sign * sense * float((((made - (noise - latents)) ** 2) * wrong).mean())
    return total


@pytest.mark.parametrize("teach", ["comparison", "both"])
def test_the_right_edit_is_preferred_after_a_few_steps(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path, teach: str
) -> None:
    task = task_of(model, cache, job(tmp_path, pair(), corrections_teach=teach))
    with torch.no_grad():
        assert margin(task) == pytest.approx(0.0, abs=1e-5)
    optimizer = torch.optim.Adam(list(task.parameters().values()), lr=1e-2)
    for step in range(12):
        optimizer.zero_grad()
        task.loss(step).backward()
        optimizer.step()
    with torch.no_grad():
        assert margin(task) > 1e-3


def test_a_stopped_comparison_goes_on_to_the_same_bytes(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    def train(name: str, stop_after: int | None = None) -> EditTrained:
        given = job(tmp_path / name, pair(), approved(), corrections_teach="both", anchor=1.0, distilled_guidance=2.5)
        return train_editor(model, given, hooks(stop_after), cache)

    whole = train("whole")
    with pytest.raises(InterruptedStageError):
        train("parts", stop_after=2)
    resumed = train("parts")
    assert resumed.lora == whole.lora and resumed.losses == whole.losses
