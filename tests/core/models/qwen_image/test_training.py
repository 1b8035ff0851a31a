"""Training the editor: the pipeline's own tensors, exact resume, regions, dropout with the picture kept, a file that loads back."""

import threading
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load

from flenwheel_core.adapters.lora_file import LoraFile
from flenwheel_core.base.errors import InterruptedStageError
from flenwheel_core.base.settings import Settings
from flenwheel_core.documents.images import Sampler
from flenwheel_core.engine.edit_job import EditLesson, EditTrainJob
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.protocols import EditJob, ModelSetup
from flenwheel_core.models.qwen_image.drawing import draw
from flenwheel_core.models.qwen_image.editor import open_editor
from flenwheel_core.models.qwen_image.loading import QwenEditModel, find_model
from flenwheel_core.models.qwen_image.task import PLAIN_AIM, Aim, EditTask
from flenwheel_core.models.qwen_image.trainer import encode_lessons, train_editor
from flenwheel_core.recipes.train import LoraRecipe, SamplingRecipe, TrainingRecipe
from tests.kit.tiny_editor import picture

RECIPE = TrainingRecipe(
    steps=4,
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
SOURCE, TARGET = picture(96, 96, 1), picture(96, 96, 2)


def lesson(source: Image.Image = SOURCE, target: Image.Image = TARGET, prompt: str = "smiling") -> EditLesson:
    return EditLesson(prompt, lambda: source, lambda: target)


def job(
    folder: Path, *lessons: EditLesson, changed: float = 1.0, kept: float = 1.0, mistake: float = 1.0
) -> EditTrainJob:
    return EditTrainJob("run", "lesson", lessons or (lesson(),), RECIPE, changed, kept, mistake, seed=3, folder=folder)


def hooks(stop: threading.Event | None = None, stop_after: int = 0) -> TrainHooks:
    def on_step(done: int, loss: float) -> None:
        if stop is not None and done == stop_after:
            stop.set()

    return TrainHooks((stop or threading.Event()).is_set, on_step, lambda text: None, lambda text: None)


@pytest.fixture
def model(editor_folder: Path, settings: Settings) -> QwenEditModel:
    return find_model(editor_folder, "tiny", settings)


@pytest.fixture
def cache(tmp_path: Path) -> TensorCache:
    return TensorCache(tmp_path / "cache")


def one_step_task(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path, given: EditLesson, aim: Aim = PLAIN_AIM
) -> tuple[EditTask, list]:
    transformer = model.load_transformer()
    weight = torch.nn.Parameter(torch.zeros(1))
    examples = encode_lessons(model, job(tmp_path, given), cache)
    task = EditTask(
        transformer, {"w": weight}, model.load_scheduler(), RECIPE, examples, seed=1, dtype=torch.float32, aim=aim
    )
    return task, examples


@torch.no_grad()
def test_a_training_forward_is_a_denoising_call(model: QwenEditModel, cache: TensorCache, tmp_path: Path) -> None:
    """One step from pure noise: the editor's drawing and the trainer's prediction move the latents to the same place."""
    task, (example,) = one_step_task(model, cache, tmp_path, lesson(picture(150, 90, 4), picture(150, 90, 5)))
    drawn = draw(
        model.load_transformer(),
        model.load_scheduler(),
        example.sizes,
        example.references[None],
        example.prompt,
        None,
        steps=1,
        true_cfg=1.0,
        seed=5,
    )
    from flenwheel_core.models.qwen_image.drawing import initial_noise

    noise = initial_noise(example.sizes, 64, 5)
    velocity = task.predict([example], noise, torch.ones(1), [example.prompt])
    torch.testing.assert_close(noise - velocity, drawn)


@torch.no_grad()
def test_swapped_pictures_or_another_caption_give_another_loss(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    losses = [
        float(one_step_task(model, cache, tmp_path, given)[0].loss(0))
        for given in (lesson(), lesson(TARGET, SOURCE), lesson(prompt="sunset lighting"), lesson())
    ]
    assert losses[0] == losses[3] and len(set(losses)) == 3


@torch.no_grad()
def test_padding_of_shorter_prompts_changes_nothing(model: QwenEditModel, cache: TensorCache, tmp_path: Path) -> None:
    task, _ = one_step_task(model, cache, tmp_path, lesson())
    long, short = encode_lessons(
        model, job(tmp_path, lesson(prompt="smiling, sunset lighting, front view"), lesson(prompt="sad")), cache
    )
    assert len(long.prompt) > len(short.prompt)
    noisy = torch.stack([long.target, short.target])
    sigma = torch.tensor([0.3, 0.7])
    together = task.predict([long, short], noisy, sigma, [long.prompt, short.prompt])
    alone = task.predict([short], noisy[1:], sigma[1:], [short.prompt])
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)


def test_a_dropped_prompt_keeps_its_picture(model: QwenEditModel, cache: TensorCache, tmp_path: Path) -> None:
    one, other = encode_lessons(model, job(tmp_path, lesson(), lesson(picture(96, 96, 8))), cache)
    assert len(one.empty) < len(one.prompt)
    assert one.empty.shape == other.empty.shape and not torch.allclose(one.empty, other.empty)


def test_regions_weigh_what_changes(model: QwenEditModel, cache: TensorCache, tmp_path: Path) -> None:
    target = SOURCE.copy()
    target.paste((255, 0, 0), (0, 0, 32, 32))
    (example,) = encode_lessons(model, job(tmp_path, lesson(SOURCE, target), changed=2.0, kept=0.5), cache)
    assert example.weights.region is not None and example.weights.region.shape == (36, 1)
    grid = example.weights.region.reshape(6, 6)
    assert grid[0, 0] == 2.0 and grid[5, 5] == 0.5


def test_regions_weigh_where_a_corrected_edit_had_gone_wrong(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    rejected = TARGET.copy()
    rejected.paste((255, 0, 0), (0, 0, 32, 32))
    corrected = EditLesson("smiling", lambda: SOURCE, lambda: TARGET, lambda: rejected)
    wrong, approved = encode_lessons(model, job(tmp_path, corrected, lesson(), mistake=5.0), cache)
    assert approved.weights.region is None and wrong.weights.region is not None
    grid = wrong.weights.region.reshape(6, 6)
    assert grid[0, 0] == 5.0 and grid[5, 5] == 1.0


@torch.no_grad()
def test_distilled_guidance_is_in_the_target_but_not_for_dropped_prompts(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    task, (example,) = one_step_task(model, cache, tmp_path, lesson(), Aim(guidance=2.5))
    flow, noisy, sigma = (
        torch.randn(2, *example.target.shape),
        torch.stack([example.target] * 2),
        torch.tensor([0.4, 0.6]),
    )
    aimed = task._aimed([example] * 2, flow, noisy, sigma, [example.prompt, example.empty], [False, True])
    empty = task.predict([example] * 2, noisy, sigma, [example.empty] * 2)
    torch.testing.assert_close(aimed[0], empty[0] + 2.5 * (flow[0] - empty[0]))
    torch.testing.assert_close(aimed[1], flow[1])


@torch.no_grad()
def test_the_editors_own_answer_stays_the_target_where_nothing_was_wrong(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    rejected = TARGET.copy()
    rejected.paste((255, 0, 0), (0, 0, 32, 32))
    corrected = EditLesson("smiling", lambda: SOURCE, lambda: TARGET, lambda: rejected)
    approved = EditLesson("smiling", lambda: SOURCE, lambda: TARGET, approved=True)
    brought = lesson()  # from elsewhere: what the editor would have made is not known
    given = job(tmp_path, corrected, approved, brought)
    examples = encode_lessons(model, replace(given, anchor=1.0), cache)
    task, _ = one_step_task(model, cache, tmp_path, lesson(), Aim(anchor=1.0))
    prompts = [example.prompt for example in examples]
    noisy, sigma = torch.stack([example.target for example in examples]), torch.tensor([0.4, 0.5, 0.6])
    flow, own = torch.randn_like(noisy), task.predict(examples, noisy, sigma, prompts)
    aimed = task._aimed(examples, flow, noisy, sigma, prompts, [False] * 3).unflatten(1, (6, 6))
    flow, own = flow.unflatten(1, (6, 6)), own.unflatten(1, (6, 6))
    torch.testing.assert_close(aimed[0, :2, :2], flow[0, :2, :2])
    torch.testing.assert_close(aimed[0, 3:], own[0, 3:])
    torch.testing.assert_close(aimed[1], own[1])
    torch.testing.assert_close(aimed[2], flow[2])


def test_a_faint_mistake_is_as_wrong_as_a_loud_one(model: QwenEditModel, cache: TensorCache, tmp_path: Path) -> None:
    faint, loud = TARGET.copy(), TARGET.copy()
    faint.paste(Image.blend(TARGET, Image.new("RGB", TARGET.size), 0.1).crop((0, 0, 32, 32)), (0, 0))
    loud.paste((255, 0, 0), (0, 0, 32, 32))
    corrected = [EditLesson("smiling", lambda: SOURCE, lambda: TARGET, rejected.copy) for rejected in (faint, loud)]
    for example in encode_lessons(model, replace(job(tmp_path, *corrected), anchor=1.0), cache):
        assert example.weights.wrong is not None and example.weights.wrong.max() == 1


def test_an_anchored_lora_starts_where_approved_edits_have_nothing_to_teach(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    approved = EditLesson("smiling", lambda: SOURCE, lambda: TARGET, approved=True)
    anchored = train_editor(model, replace(job(tmp_path / "anchored", approved), anchor=1.0), hooks(), cache)
    assert anchored.losses[0].loss < 1e-8
    plain = train_editor(model, job(tmp_path / "plain", approved), hooks(), cache)
    assert plain.losses[0].loss > 0.1


def test_training_with_distilled_guidance_aims_elsewhere(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    plain, same, guided = (
        train_editor(
            model, replace(job(tmp_path / f"{strength}-{number}"), distilled_guidance=strength), hooks(), cache
        )
        for number, strength in enumerate((1.0, 1.0, 2.5))
    )
    assert plain.lora == same.lora != guided.lora
    assert guided.losses[0].loss > 1.5 * plain.losses[0].loss


def test_resume_is_exact_and_the_file_loads_back(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path, editor_folder: Path, settings: Settings
) -> None:
    lessons = (lesson(), lesson(TARGET, SOURCE, "sad"), lesson(prompt="sunset"))
    whole = train_editor(model, job(tmp_path / "whole", *lessons), hooks(), cache)
    stop = threading.Event()
    with pytest.raises(InterruptedStageError):
        train_editor(model, job(tmp_path / "parts", *lessons), hooks(stop, stop_after=2), cache)
    resumed = train_editor(model, job(tmp_path / "parts", *lessons), hooks(), cache)
    assert resumed.lora == whole.lora and resumed.losses == whole.losses
    names = {name.split(".lora_")[0] for name in load(whole.lora)}
    assert {
        f"transformer.transformer_blocks.0.{part}"
        for part in ("attn.to_q", "attn.add_q_proj", "img_mlp.net.2", "txt_mlp.net.2")
    } <= names
    (tmp_path / "lora.safetensors").write_bytes(whole.lora)
    edit = EditJob("a", "smiling", 1, Sampler(steps=1, width=96, height=96), (SOURCE,))
    pictures = []
    for weight in (0.0, 1.0):
        with open_editor(
            editor_folder, "tiny", settings, ModelSetup(loras=(LoraFile(tmp_path / "lora.safetensors", weight),))
        ) as editor:
            pictures += [np.asarray(made.image) for made in editor.edit([edit])]
    assert (pictures[0] != pictures[1]).any()


def test_pictures_of_lessons_are_held_one_lesson_at_a_time(
    model: QwenEditModel, cache: TensorCache, tmp_path: Path
) -> None:
    read: list[weakref.ref[Image.Image]] = []
    most = 0

    def load(seed: int) -> Image.Image:
        nonlocal most
        image = picture(96, 96, seed)
        read.append(weakref.ref(image))
        most = max(most, sum(one() is not None for one in read))
        return image

    lessons = [
        EditLesson("smiling", partial(load, 2 * number), partial(load, 2 * number + 1), partial(load, 99))
        for number in range(8)
    ]
    examples = encode_lessons(model, job(tmp_path, *lessons, changed=2.0, mistake=3.0), cache)
    assert len(examples) == 8
    assert most <= 3, "source, target and rejected picture of one lesson"
