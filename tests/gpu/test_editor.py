"""The editor's trainer on a card, at nano size: recorded steps learn what plain steps learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flenwheel_core.base.settings import Settings
from flenwheel_core.engine.edit_job import EditLesson, EditTrainJob
from flenwheel_core.engine.job import TrainHooks
from flenwheel_core.engine.tensor_cache import TensorCache
from flenwheel_core.models.embedded import weights_folder
from flenwheel_core.models.qwen_image.loading import find_model
from flenwheel_core.models.qwen_image.trainer import train_editor
from flenwheel_core.nano.world import ANGLES, HELD_OUT_FROM, instruction, make_character, make_view, render
from flenwheel_core.recipes.train import TrainingRecipe

RECIPE = TrainingRecipe.model_validate(
    {
        "steps": 40,
        "resolution": 128,
        "batch_size": 1,
        "learning_rate": 5e-4,
        "warmup_steps": 2,
        "checkpoint_every": 100,
        "compile": False,
        "caption_dropout": 0.1,
        "sampling": {"every_steps": 0},
    }
)


def lessons() -> tuple[EditLesson, ...]:
    """Edits of one character whose prompts have several lengths."""
    character = make_character(HELD_OUT_FROM + 6)
    found = []
    for number in range(4):
        source = replace(make_view(90 + number, portrait_share=1.0), style="photo")
        target = replace(source, angle=ANGLES[(ANGLES.index(source.angle) + 1 + number) % len(ANGLES)])
        pictures = render(character, source), render(character, target)
        found.append(EditLesson(instruction(source, target), pictures[0].copy, pictures[1].copy))
    return tuple(found)


def losses(folder: Path, settings: Settings, *, recorded: bool, guidance: float) -> tuple[list[float], list[str]]:
    notes: list[str] = []
    hooks = TrainHooks(lambda: False, lambda _step, _loss: None, notes.append, lambda _part: None)
    recipe = RECIPE.model_copy(update={"cuda_graphs": recorded})
    job = EditTrainJob("run", "card", lessons(), recipe, 1.0, 1.0, 1.0, 5, folder, distilled_guidance=guidance)
    model = find_model(weights_folder("editor"), "nano", settings)
    trained = train_editor(model, job, hooks, TensorCache(folder / "cache"))
    return [point.loss for point in trained.losses], notes


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_recorded_steps_learn_what_plain_steps_learn(tmp_path: Path, guidance: float) -> None:
    settings = Settings(workspace=tmp_path / "workspace", store=None, gpu="auto")
    plain, _ = losses(tmp_path / "plain", settings, recorded=False, guidance=guidance)
    fast, notes = losses(tmp_path / "fast", settings, recorded=True, guidance=guidance)
    assert not any("without CUDA graphs" in note for note in notes)
    assert np.allclose(plain, fast, rtol=0.03)
    assert all(torch.isfinite(torch.tensor(fast)))
