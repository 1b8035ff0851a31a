"""Lessons with several pictures on a Plus editor: the same tensors as an edit of them, exact resume, and each picture counts."""

import threading
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from flenwheel_core.base.errors import InterruptedStageError
from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.edit_job import EditLesson, EditTrainJob
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.qwen_image.conditioning import Revision
from flenwheel_core.models.qwen_image.drawing import draw, initial_noise
from flenwheel_core.models.qwen_image.encoding import Instruction, Picture, encode_instructions, encode_pictures
from flenwheel_core.models.qwen_image.loading import QwenEditModel, find_model
from flenwheel_core.models.qwen_image.task import EditTask
from flenwheel_core.models.qwen_image.trainer import encode_lessons, train_editor
from flenwheel_core.recipes.train import LoraRecipe, SamplingRecipe, TrainingRecipe
from tests.kit.tiny_editor import picture, save_tiny

RECIPE = TrainingRecipe(
    steps=4,
    resolution=96,
    learning_rate=1e-2,
    warmup_steps=0,
    caption_dropout=0.3,
    checkpoint_every=100,
    log_every=1,
    lora=LoraRecipe(rank=4),
    sampling=SamplingRecipe(every_steps=0),
)
GIVEN = picture(96, 96, 1), picture(120, 80, 5), picture(64, 100, 6)


def lesson(*pictures: Image.Image) -> EditLesson:
    source, *further = (partial(Image.Image.copy, one) for one in pictures)
    return EditLesson("smiling", source, lambda: picture(96, 96, 2), load_references=tuple(further))


def job(folder: Path, *lessons: EditLesson) -> EditTrainJob:
    return EditTrainJob("run", "lesson", lessons, RECIPE, 1.0, 1.0, 1.0, seed=3, folder=folder)


def hooks(stop: threading.Event | None = None) -> TrainHooks:
    def on_step(done: int, loss: float) -> None:
        if stop is not None and done == 2:
            stop.set()

    return TrainHooks((stop or threading.Event()).is_set, on_step, lambda text: None, lambda text: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("plus"), Revision.PLUS)


@pytest.fixture
def model(folder: Path, settings: Settings) -> QwenEditModel:
    return find_model(folder, "tiny", settings)


@pytest.fixture
def cache(tmp_path: Path) -> TensorCache:
    return TensorCache(tmp_path / "cache")


@torch.no_grad()
def test_a_training_forward_is_a_denoising_call_with_all_pictures(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    (example,) = encode_lessons(model, job(tmp_path, lesson(*GIVEN)), cache)
    edit = Instruction("smiling", tuple(Picture.of(partial(Image.Image.copy, one)) for one in GIVEN), 96 * 96)
    sizes = edit.sizes(model)
    assert example.sizes == sizes and len(sizes.references) == 3
    (prompt,) = encode_instructions(model, [edit], cache)
    clean = encode_pictures(model, list(zip(edit.pictures, sizes.references, strict=True)), cache)
    assert torch.equal(example.prompt, prompt) and torch.equal(example.references, torch.cat(clean))
    transformer = model.load_transformer()
    drawn = draw(
        transformer,
        model.load_scheduler(),
        sizes,
        torch.cat(clean)[None],
        prompt,
        None,
        steps=1,
        true_cfg=1.0,
        seed=5,
    )
    weight = torch.nn.Parameter(torch.zeros(1))
    task = EditTask(transformer, {"w": weight}, model.load_scheduler(), RECIPE, [example], seed=1, dtype=torch.float32)
    noise = initial_noise(sizes, 64, 5)
    torch.testing.assert_close(noise - task.predict([example], noise, torch.ones(1), [example.prompt]), drawn)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bytes_and_the_order_of_pictures_counts(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    lessons = lesson(GIVEN[0]), lesson(*GIVEN)
    whole = train_editor(model, job(tmp_path / "whole", *lessons), hooks(), cache)
    with pytest.raises(InterruptedStageError):
        train_editor(model, job(tmp_path / "parts", *lessons), hooks(threading.Event()), cache)
    assert train_editor(model, job(tmp_path / "parts", *lessons), hooks(), cache).lora == whole.lora
    swapped = lesson(GIVEN[0]), lesson(GIVEN[0], GIVEN[2], GIVEN[1])
    other = train_editor(model, job(tmp_path / "other", *swapped), hooks(), cache)
    assert other.losses != whole.losses
